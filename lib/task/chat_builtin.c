/* Chat templates by name, each in the form that its model documents. */
#include <string.h>

#include "task/chat.h"

static const struct {
  const char *name, *text;
} builtin[] = {
    {"chatml",
     "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['"
     "content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|i"
     "m_start|>assistant\\n' }}{% endif %}\n"},
    {"llama3",
     "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content ="
     " '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['conte"
     "nt'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + c"
     "ontent %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|sta"
     "rt_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}\n"},
    {"gemma", "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System ro"
              "le not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] "
              "== 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
              "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else "
              "%}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n"
              "' + message['content'] | trim + '<end_of_turn>\n"
              "' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n"
              "'}}{% endif %}\n"},
    {"phi3", "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n"
             "' + message['content'] + '<|end|>\n"
             "'}}{% elif message['role'] == 'user' %}{{'<|user|>\n"
             "' + message['content'] + '<|end|>\n"
             "'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n"
             "' + message['content'] + '<|end|>\n"
             "'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n"
             "' }}{% endif %}\n"},
    {"mistral",
     "{%- if messages[0][\"role\"] == \"system\" %}\n"
     "    {%- set system_message = messages[0][\"content\"] %}\n"
     "    {%- set loop_messages = messages[1:] %}\n"
     "{%- else %}\n"
     "    {%- set loop_messages = messages %}\n"
     "{%- endif %}\n"
     "{{- bos_token }}\n"
     "{%- for message in loop_messages %}\n"
     "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
     "        {{- raise_exception('After the optional system message, conversation roles m"
     "ust alternate') }}\n"
     "    {%- endif %}\n"
     "    {%- if message[\"role\"] == \"user\" %}\n"
     "        {%- if loop.last and system_message is defined %}\n"
     "            {{- \"[INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + "
     "\"[/INST]\" }}\n"
     "        {%- else %}\n"
     "            {{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}\n"
     "        {%- endif %}\n"
     "    {%- elif message[\"role\"] == \"assistant\" %}\n"
     "        {{- \" \" + message[\"content\"]|trim + eos_token }}\n"
     "    {%- else %}\n"
     "        {{- raise_exception(\"Only user and assistant roles are supported\") }}\n"
     "    {%- endif %}\n"
     "{%- endfor %}\n"},
    {"zephyr", "{% for message in messages %}\n"
               "{% if message['role'] == 'user' %}\n"
               "{{ '<|user|>\n"
               "' + message['content'] + eos_token }}\n"
               "{% elif message['role'] == 'system' %}\n"
               "{{ '<|system|>\n"
               "' + message['content'] + eos_token }}\n"
               "{% elif message['role'] == 'assistant' %}\n"
               "{{ '<|assistant|>\n"
               "'  + message['content'] + eos_token }}\n"
               "{% endif %}\n"
               "{% if loop.last and add_generation_prompt %}\n"
               "{{ '<|assistant|>' }}\n"
               "{% endif %}\n"
               "{% endfor %}\n"},
    {"alpaca",
     "{%- if messages[0].role != 'system' -%}\n"
     "Below is an instruction that describes a task. Write a response that appropriately c"
     "ompletes the request.{{ '\\n\\n' }}\n"
     "{%- endif -%}\n"
     "{%- for m in messages -%}\n"
     "{%- if m.role == 'system' -%}{{ m.content ~ '\\n\\n' }}\n"
     "{%- elif m.role == 'user' -%}{{ '### Instruction:\\n' ~ m.content ~ '\\n\\n' }}\n"
     "{%- elif m.role == 'assistant' -%}{{ '### Response:\\n' ~ m.content ~ eos_token ~ '"
     "\\n\\n' }}\n"
     "{%- endif -%}\n"
     "{%- endfor -%}\n"
     "{%- if add_generation_prompt -%}{{ '### Response:\\n' }}{%- endif -%}\n"},
    {"vicuna",
     "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
     "{% endif %}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] ~ ' ' }"
     "}{% set messages = messages[1:] %}{% else %}A chat between a curious user and an art"
     "ificial intelligence assistant. {% endif %}{% for m in messages %}{{ {'user': 'USER'"
     ", 'assistant': 'ASSISTANT', 'tool': 'TOOL'}[m.role] ~ ': ' ~ m.content.strip() }}{{ "
     "eos_token if m.role == 'assistant' else ' ' }}{% endfor %}{{ 'ASSISTANT:' if add_gen"
     "eration_prompt }}\n"},
};
enum { BUILTIN = sizeof builtin / sizeof *builtin };

const char *zf_chat_builtin(const char *name) {
  for (int i = 0; i < BUILTIN; i++)
    if (!strcmp(builtin[i].name, name)) return builtin[i].text;
  return NULL;
}

const char *zf_chat_names(void) {
  static char text[256];
  if (text[0]) return text;
  for (int i = 0; i < BUILTIN; i++) strcat(strcat(text, i ? ", " : ""), builtin[i].name);
  return text;
}
