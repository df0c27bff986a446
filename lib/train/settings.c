/* The schema of config.yaml, and the settings that it fills. */
#include "train/settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "train/run_config.h"
#include "train/settings_internal.h"

#define SEED_MAX 9007199254740991.0 /* 2^53 - 1: JSON keeps it */

const struct zf_conf_key zf_train_keys[] = {
    {"base_model", ZF_CONF_STR, NULL,
     "model directory, or ORG/NAME in the local Hugging Face cache", .path = ZF_CONF_INPUT,
     .required = 1, .may_change = 1,
     .also = "model_name_or_path|model|model_name|model_id|pretrained_model_name_or_path"},
    {"output_dir", ZF_CONF_STR, "./out", "where the run and its model are written",
     .path = ZF_CONF_PATH, .may_change = 1, .also = "output|save_dir|adapter_path|output_path"},
    {"overwrite_output_dir", ZF_CONF_BOOL, "false", "replace an earlier run in output_dir",
     .may_change = 1, .also = "overwrite|overwrite_output"},
    {"dtype", ZF_CONF_ENUM, "auto", "storage of weights; auto: trained ones f32, others as stored",
     .choices = "auto|f32|f16|bf16", .also = "torch_dtype|model_dtype"},
    {"trained_dtype", ZF_CONF_ENUM, "auto",
     "storage of trained weights, 4, 3 or 2 bytes each; auto: as dtype says",
     .choices = "auto|f32|f24|f16|bf16"},
    {"save_dtype", ZF_CONF_ENUM, "auto", "dtype of the saved model; auto: as trained",
     .choices = "auto|f32|f16|bf16", .may_change = 1},
    {"export", ZF_CONF_ENUM, "none",
     "beside the result: gguf, the file OUT/export.gguf for llama.cpp", .choices = "none|gguf",
     .may_change = 1},
    {"export_type", ZF_CONF_ENUM, "auto", "type of the exported matrices; auto: as stored",
     .choices = "auto|f32|f16|bf16|q8_0|q4_0|q4_1|q5_0|q5_1|q2_k|q3_k|q4_k|q5_k|q6_k|iq4_nl",
     .may_change = 1},
    {"compute", ZF_CONF_ENUM, "auto",
     "arithmetic of the matrix products; auto: bf16 if the processor has it and zo_eps is auto or "
     "at least 3e-3, else f32",
     .choices = "auto|f32|bf16|int8", .may_change = 1,
     .also = "bf16|fp16|tf32|mixed_precision|precision"},
    {"trainable", ZF_CONF_STRS, "*", "globs over tensor names: which parameters train",
     .also = "trainable_parameters|unfrozen_parameters|trainable_params|trainable_modules"},
    {"train_blocks", ZF_CONF_ENUM, NULL,
     "a GGUF base: of the matrices in blocks that 'trainable' names, train the scales, or, in "
     "Q8_0, the "
     "integers (scales)",
     .choices = "scales|integers"},
    {"threads", ZF_CONF_INT, "auto", "auto: physical cores, or one while that is faster", .min = 1,
     .max = 1024, .choices = "auto", .may_change = 1, .also = "num_threads|n_threads|num_proc"},
    {"memory_limit", ZF_CONF_BYTES, NULL, "refuse to start when the forecast is above (8G, 512M)",
     .min = 1, .max = 1e15, .may_change = 1},

    {"data_dir", ZF_CONF_STR, "datasets",
     "directory of the data files; unset: the first that has them of datasets, the working "
     "directory, "
     "and the same from the config's directory",
     .path = ZF_CONF_INPUT, .may_change = 1},
    {"datasets", ZF_CONF_MAPS, NULL, "training files", .required = 1, .sub = zf_data_keys,
     .also = "dataset|data|train_file|train_data|train_dataset|data_path|data_files"},
    {"val_datasets", ZF_CONF_MAPS, NULL, "dev files; none: val_set_size is taken from datasets",
     .sub = zf_data_keys,
     .also =
         "validation_file|eval_file|val_data|eval_data|eval_dataset|validation_dataset|valid_data"},
    {"test_datasets", ZF_CONF_MAPS, NULL, "files for the final score", .sub = zf_data_keys,
     .also = "test_file|test_data|test_dataset"},
    {"val_set_size", ZF_CONF_NUM, "0", "dev examples drawn from datasets; below 1: their share",
     .min = 0, .max = 1e9, .also = "val_size|validation_split|validation_split_percentage"},
    {"num_train", ZF_CONF_INT, "all", "training examples drawn", .min = 1, .max = 1e12,
     .choices = "all", .also = "max_samples|max_train_samples|num_samples"},
    {"dataset_exact_deduplication", ZF_CONF_BOOL, "false",
     "leave out training examples that duplicate an earlier one, or a dev or test example"},
    {"streaming", ZF_CONF_BOOL, "false",
     "rows are encoded when a step or score needs them, not at the start: for files larger than "
     "memory",
     .may_change = 1},
    {"num_eval", ZF_CONF_INT, "all", "test examples drawn", .min = 1, .max = 1e12, .choices = "all",
     .also = "max_eval_samples|max_test_samples|max_predict_samples"},
    {"sequence_len", ZF_CONF_INT, "auto", "maximum tokens of a sequence; auto: the model's context",
     .min = 2, .max = 1 << 24, .choices = "auto",
     .also = "max_seq_length|max_seq_len|max_length|model_max_length|cutoff_len|block_size|context_"
             "length|seq_len"},
    {"excess_length_strategy", ZF_CONF_ENUM, "truncate", "what happens to longer examples",
     .choices = "truncate|drop|raise|split"},
    {"train_on_inputs", ZF_CONF_BOOL, "false", "completion: the prompt is a target as well",
     .also = "train_on_prompt|mask_prompt"},
    {"chat_template", ZF_CONF_STR, NULL,
     "chat: chatml, llama3, gemma, phi3, mistral, zephyr, alpaca, vicuna or a .jinja file; unset: "
     "the checkpoint's",
     .path = ZF_CONF_INPUT, .also = "template|prompt_template"},
    {"add_eos", ZF_CONF_ENUM, "auto", "end completions and texts with EOS; auto: if there is one",
     .choices = "auto|true|false"},

    {"adapter", ZF_CONF_STR, NULL,
     "train an adapter over the frozen base: lora, ia3, vera, prefix, prompt, ln, bitfit, tokens; "
     "or "
     "the path of one: to go on training, or to apply in scores; unset: the weights that "
     "'trainable' names",
     .path = ZF_CONF_INPUT,
     .also = "peft|peft_method|finetuning_type|fine_tune_type|training_type"},
    {"lora_r", ZF_CONF_INT, NULL, "rank of LoRA and VeRA (8)", .min = 1, .max = 65536,
     .also = "lora_rank|rank"},
    {"lora_alpha", ZF_CONF_NUM, NULL, "LoRA is scaled by lora_alpha / lora_r (twice lora_r)",
     .min = 1e-9, .max = 1e9},
    {"use_rslora", ZF_CONF_BOOL, NULL, "scale LoRA by lora_alpha / sqrt(lora_r)"},
    {"use_dora", ZF_CONF_BOOL, NULL, "DoRA: LoRA's rows keep norms of their own, which train"},
    {"lora_target_modules", ZF_CONF_STRS, NULL,
     "modules that the adapter changes: names, all-linear, or one regular expression over whole "
     "paths; "
     "unset: those of queries and values (ia3: keys, values, down; ln: all norms)",
     .also = "target_modules|lora_target|lora_modules|lora_keys|lora_layers"},
    {"layers_to_transform", ZF_CONF_STRS, NULL,
     "numbers of the layers that it changes; unset: all"},
    {"rank_pattern", ZF_CONF_STRS, NULL, "list of PATTERN=RANK: ranks of some modules"},
    {"alpha_pattern", ZF_CONF_STRS, NULL, "list of PATTERN=ALPHA: alphas of some modules"},
    {"init_lora_weights", ZF_CONF_ENUM, NULL,
     "LoRA's A: kaiming; gaussian; orthonormal rows; eva: principal components of the module's "
     "inputs, by "
     "forward passes over training examples, ranks shared out by explained variance; pissa, olora: "
     "from the "
     "module's weights (kaiming)",
     .choices = ZF_LORA_INITS},
    {"eva_batches", ZF_CONF_INT, NULL, "batches that eva reads (4)", .min = 1, .max = 1 << 20},
    {"num_virtual_tokens", ZF_CONF_INT, NULL,
     "prompt, prefix: trained tokens in front of every sequence (5)", .min = 1, .max = 65536},
    {"prompt_tuning_init", ZF_CONF_ENUM, NULL,
     "prompt, prefix: they begin as random tokens of the vocabulary, as those of a text, or, "
     "prompts "
     "alone, as noise (vocab)",
     .choices = "vocab|text|random"},
    {"prompt_tuning_init_text", ZF_CONF_STR, NULL, "that text, repeated or cut to their number"},
    {"token_indices", ZF_CONF_STRS, NULL, "tokens: ids of the tokens whose embeddings train"},
    {"lora_train", ZF_CONF_ENUM, NULL,
     "parts of LoRA that train: b alone, or a and b (b for method mezo, ab for backpropagation)",
     .choices = "b|ab"},
    {"zo_directions", ZF_CONF_ENUM, NULL,
     "adapter: one direction for the batch, or one for every example of it, with a projected "
     "gradient "
     "each (example, unless the output head trains)",
     .choices = "batch|example"},
    {"zo_optimizer", ZF_CONF_ENUM, NULL,
     "the update by the estimate (sgd); adam and momentum of full weights make their moments from "
     "a "
     "window of steps, adamm, muon and trust need an adapter or zo_form low_rank",
     .choices = ZF_RULE_WORDS},

    {"method", ZF_CONF_ENUM, "mezo",
     "source of gradients: two forward passes (mezo), or backpropagation; probe: no steps, the "
     "head's "
     "rows of "
     "one-token options or labels by ridge regression, from one forward pass over the training "
     "data",
     .choices = ZF_METHOD_WORDS, .also = "optim|optimizer|trainer"},
    {"start", ZF_CONF_ENUM, NULL,
     "probe: begin with the output head of a ridge regression (as method probe), in "
     "OUTPUT_DIR.start; auto: where the data suit one and no adapter is trained",
     .choices = "none|probe|auto"},
    {"learning_rate", ZF_CONF_NUM, NULL,
     "step size; auto, or unset: zeroth-order methods find it before the first step, and lower it "
     "while the loss rises; backpropagation needs a number",
     .min = 0, .max = 1e6, .choices = "auto", .also = "lr"},
    {"lr_scheduler", ZF_CONF_ENUM, "constant", "after the warm-up",
     .choices = "constant|linear|cosine", .also = "lr_scheduler_type|lr_schedule|scheduler"},
    {"warmup_steps", ZF_CONF_INT, NULL, "steps of linear warm-up", .min = 0, .max = 1e12,
     .also = "warmup|num_warmup_steps"},
    {"warmup_ratio", ZF_CONF_NUM, NULL, "the same as a share of all steps", .min = 0, .max = 1},
    {"weight_decay", ZF_CONF_NUM, "0", "of matrices; not of biases and norms", .min = 0, .max = 1e6,
     .also = "wd"},
    {"max_steps", ZF_CONF_INT, NULL, "steps of the run; unset: num_epochs decides", .min = 1,
     .max = 4294967295.0, .may_change = 1,
     .also = "iters|num_steps|steps|max_iters|max_train_steps|total_steps"},
    {"num_epochs", ZF_CONF_NUM, NULL, "passes over the training set, when max_steps is unset (1)",
     .min = 1e-6, .max = 1e6, .may_change = 1, .also = "num_train_epochs|epochs|max_epochs"},
    {"micro_batch_size", ZF_CONF_INT, "16", "examples in memory at once", .min = 1, .max = 1 << 20,
     .may_change = 1,
     .also = "per_device_train_batch_size|batch_size|train_batch_size|per_gpu_train_batch_size"},
    {"gradient_accumulation_steps", ZF_CONF_INT, "1", "micro-batches in a batch", .min = 1,
     .max = 1 << 20, .may_change = 1,
     .also = "grad_accum|grad_accumulation_steps|gradient_accumulation|accumulate_grad_batches"},
    {"seed", ZF_CONF_INT, "42",
     "seed of directions, of the data order and, without split_seed, of the split", .min = 0,
     .max = SEED_MAX, .also = "random_seed|data_seed"},
    {"split_seed", ZF_CONF_INT, NULL,
     "seed of the split into training, dev and test rows, which runs with several seeds then "
     "share; "
     "unset: seed",
     .min = 0, .max = SEED_MAX},

    {"zo_eps", ZF_CONF_NUM, "auto",
     "distance of the two evaluations; auto: 1e-3 in f32, 3e-3 in bf16, 1e-2 in int8", .min = 1e-12,
     .max = 1e3, .choices = "auto", .also = "zo_epsilon|eps|epsilon|perturbation_scale"},
    {"zo_probes", ZF_CONF_INT, "1", "directions a step (n of n-SPSA)", .min = 1,
     .max = ZF_ZO_MAXPROBES, .also = "num_probes|num_perturbations|n_directions"},
    {"zo_direction", ZF_CONF_ENUM, "gaussian", "distribution of z",
     .choices = "gaussian|rademacher"},

    {"zo_method", ZF_CONF_ENUM, NULL,
     "a published method by name: sets the zo_ keys below that are not set; auto: the best of "
     "those "
     "measured (docs/methods.md)",
     .choices = ZF_ZO_METHOD_WORDS},
    {"zo_form", ZF_CONF_ENUM, NULL,
     "directions: noise of every element (dense), of the length of its root mean square (sphere), "
     "on small weights, on random elements, of low_rank, in an orthonormal subspace, on one block "
     "of "
     "layers a step, in a cone about the momentum, scaled by the curvature",
     .choices = ZF_FORM_WORDS},
    {"zo_difference", ZF_CONF_ENUM, NULL,
     "losses of a step and their use: central (2 a probe), one_sided and batched (1 a probe and "
     "1), "
     "curvature (2 a probe and 1), bayes, anchor (variance reduction), population (evolution "
     "strategy), conservative (best of three)",
     .choices = ZF_DIFFERENCE_WORDS},
    {"zo_rank", ZF_CONF_INT, NULL, "rank of low_rank (2) and subspace (8) directions", .min = 1,
     .max = 1024},
    {"zo_refresh", ZF_CONF_INT, NULL,
     "steps that a basis is kept (low_rank 50, subspace 1000), or an anchor (2)", .min = 1,
     .max = 1e9},
    {"zo_keep", ZF_CONF_NUM, NULL,
     "share of a matrix's elements that move: small (0.25), random (0.1)", .min = 1e-9, .max = 1},
    {"zo_curvature", ZF_CONF_NUM, NULL,
     "curvature: exponent by which a probe is scaled, in eighths (0.5); scaled: smoothing of the "
     "diagonal (1e-6)",
     .min = 0, .max = 1.875},
    {"zo_cone", ZF_CONF_NUM, NULL, "cosine of the angle between a direction and the momentum (0.5)",
     .min = 0, .max = 0.999},
    {"zo_trust", ZF_CONF_NUM, NULL, "largest step of a parameter, as a share of its norm (1e-3)",
     .min = 1e-12, .max = 1},
    {"zo_window", ZF_CONF_INT, NULL,
     "steps that moments are made from; 0: they are kept in memory; auto: 44 for full weights",
     .min = 0, .max = 1000, .choices = "auto"},
    {"zo_clip", ZF_CONF_NUM, NULL,
     "bound of a projected gradient, as a multiple of its median over the last 100 steps; unset: "
     "none",
     .min = 1e-3, .max = 1e6},
    {"zo_anchor_batches", ZF_CONF_INT, NULL, "batches of an anchor (16)", .min = 1, .max = 1e6},
    {"zo_streams", ZF_CONF_INT, NULL,
     "most points of one forward pass, which share one reading of the weights (2)", .min = 1,
     .max = ZF_MAXSTREAM, .may_change = 1},

    {"objective", ZF_CONF_ENUM, NULL,
     "what is minimised in place of the task's own loss: the share of wrong choices (accuracy), "
     "1 - a metric of generated text (f1, exact_match, rouge_l, bleu), the answer of a command, or "
     "a "
     "loss of preference pairs (dpo, orpo), or the divergence from the predictions of a teacher "
     "(distill)",
     .choices = ZF_OBJECTIVE_WORDS},
    {"objective_weight", ZF_CONF_NUM, NULL,
     "share of the objective beside the task's own loss, which has the rest (1)", .min = 0,
     .max = 1, .also = "distill_weight|kd_ratio|kd_alpha"},
    {"objective_max_tokens", ZF_CONF_INT, NULL, "most tokens of a generated text (50)", .min = 1,
     .max = 1 << 20},
    {"objective_stop", ZF_CONF_STRS, NULL, "texts that end a generated text (a newline)"},
    {"objective_command", ZF_CONF_STR, NULL,
     "command: a shell command line that reads a line of JSON for each example and answers each "
     "with "
     "{\"loss\": number}"},
    {"objective_timeout", ZF_CONF_NUM, NULL, "command: seconds that it has for a line (60)",
     .min = 0.001, .max = 1e6},
    {"teacher", ZF_CONF_STR, NULL,
     "distill: the model whose predictions are learned, as base_model or a run directory, or a "
     "file "
     "of "
     "them, as OUT/teacher.bin of an earlier run",
     .path = ZF_CONF_INPUT, .may_change = 1, .also = "teacher_model|teacher_model_name_or_path"},
    {"distill_top_k", ZF_CONF_INT, NULL,
     "distill: the teacher's likeliest tokens at a position; the others count as one (64)",
     .min = 1, .max = ZF_TEACHER_MAX_K},
    {"distill_temperature", ZF_CONF_NUM, NULL,
     "distill: temperature of the predictions of both models (1)", .min = 1e-3, .max = 1e3,
     .also = "kd_temperature"},
    {"dpo_beta", ZF_CONF_NUM, NULL, "dpo: factor of the log-probabilities (0.1)", .min = 1e-9,
     .max = 1e6},
    {"orpo_lambda", ZF_CONF_NUM, NULL, "orpo: factor of the odds ratio's loss (0.1)", .min = 0,
     .max = 1e6},

    {"adam_beta1", ZF_CONF_NUM, "0.9", "adamw, zo_optimizer adam: decay of the gradient's mean",
     .min = 0, .max = 0.999999},
    {"adam_beta2", ZF_CONF_NUM, "0.999", "adamw, zo_optimizer adam: decay of its square's mean",
     .min = 0, .max = 0.9999999},
    {"adam_epsilon", ZF_CONF_NUM, "1e-8", "adamw, zo_optimizer adam: added to the root", .min = 0,
     .max = 1},
    {"momentum", ZF_CONF_NUM, "0.9", "sgd_momentum: share of the last update kept", .min = 0,
     .max = 0.999999},
    {"max_grad_norm", ZF_CONF_NUM, NULL,
     "backpropagation: maximum norm, to which longer gradients are scaled", .min = 1e-12,
     .max = 1e12, .also = "clip_grad_norm|gradient_clip|gradient_clip_val"},
    {"gradient_checkpointing", ZF_CONF_BOOL, "false",
     "backpropagation: keep only the inputs of layers; run each layer again for its derivatives",
     .also = "grad_checkpoint|use_gradient_checkpointing|activation_checkpointing|enable_"
             "activation_checkpointing"},

    {"eval_steps", ZF_CONF_INT, "auto", "steps between dev scores; auto: a fifth of the run",
     .min = 1, .max = 1e12, .choices = "auto|never", .may_change = 1,
     .also = "steps_per_eval|eval_interval|evaluation_steps"},
    {"eval_on_start", ZF_CONF_BOOL, "true", "score before the first step", .may_change = 1},
    {"metric_for_best_model", ZF_CONF_ENUM, "auto",
     "auto: the objective where one is set, else accuracy for classification, else loss",
     .choices = "auto|loss|accuracy|f1|objective"},
    {"load_best_model_at_end", ZF_CONF_BOOL, "true", "the result is the best dev score's weights",
     .may_change = 1},
    {"early_stopping_patience", ZF_CONF_INT, NULL,
     "number of dev scores without a gain after which the run stops", .min = 1, .max = 1e9,
     .may_change = 1, .also = "patience"},
    {"save_steps", ZF_CONF_INT, NULL, "steps between checkpoints; unset: none but the best",
     .min = 1, .max = 1e12, .may_change = 1,
     .also = "save_every|save_interval|save_every_n_steps|checkpoint_every"},
    {"save_total_limit", ZF_CONF_INT, "2",
     "number of checkpoints, and of keyframes, to keep; the best checkpoint does not count",
     .min = 1, .max = 1e6, .may_change = 1},
    {"keyframe_steps", ZF_CONF_INT, NULL,
     "steps between keyframes, saved trained weights from which a resume or replay starts; unset: "
     "none",
     .min = 1, .max = 1e12, .may_change = 1},
    {"logging_steps", ZF_CONF_INT, "10", "steps between lines of metrics.jsonl", .min = 1,
     .max = 1e12, .may_change = 1,
     .also = "steps_per_report|log_interval|log_every|log_every_n_steps"},
    {"loss_watchdog_threshold", ZF_CONF_NUM, "auto",
     "loss that counts as exploded; auto: 4 times the mean of the first ten steps", .min = 1e-9,
     .max = 1e30, .choices = "auto"},
    {"loss_watchdog_patience", ZF_CONF_INT, "10",
     "number of steps in a row above the threshold, or with a projected gradient of 0, that end "
     "the run",
     .min = 1, .max = 1e9},
    {0},
};

static enum zf_method method_of(const struct zf_conf *conf) {
  return (enum zf_method)zf_settings_choice(conf, "method", ZF_METHOD_WORDS "|inference");
}

static enum zf_compute compute_of(const struct zf_conf *conf) {
  int choice = zf_settings_choice(conf, "compute", "auto|f32|bf16|int8");
  if (choice) return (enum zf_compute)(choice - 1);
  if (method_of(conf) != ZF_METHOD_MEZO) return ZF_COMPUTE_F32;
  return zf_compute_auto(zf_conf_num(conf, "zo_eps", INFINITY));
}

static int dtype_of(const struct zf_conf *conf, const char *key) {
  return zf_dtype_by_name(zf_conf_str(conf, key)); /* "auto" is none: -1 */
}

static int fill_optimizer(struct zf_settings *settings, const struct zf_conf *conf) {
  settings->lr = zf_conf_num(conf, "learning_rate", 0);
  const char *rate = zf_conf_str(conf, "learning_rate"); /* NULL: a number */
  settings->auto_lr = !zf_conf_has(conf, "learning_rate") || (rate && !strcmp(rate, "auto"));
  settings->schedule =
      (enum zf_schedule)zf_settings_choice(conf, "lr_scheduler", "constant|linear|cosine");
  settings->warmup = zf_conf_int(conf, "warmup_steps", 0);
  settings->warmup_ratio = zf_conf_num(conf, "warmup_ratio", 0);
  if (zf_conf_has(conf, "warmup_steps") && zf_conf_has(conf, "warmup_ratio"))
    return zf_conf_error(conf, "warmup_ratio",
                         "'warmup_ratio' and 'warmup_steps' are both set: keep one of the two");
  settings->weight_decay = zf_conf_num(conf, "weight_decay", 0);
  settings->max_steps = zf_conf_int(conf, "max_steps", 0);
  settings->epochs = zf_conf_num(conf, "num_epochs", 1);
  if (settings->max_steps && zf_conf_has(conf, "num_epochs"))
    return zf_conf_error(conf, "num_epochs",
                         "'num_epochs' and 'max_steps' are both set: keep one of the two");
  settings->micro_batch = zf_conf_int(conf, "micro_batch_size", 16);
  settings->accumulation = zf_conf_int(conf, "gradient_accumulation_steps", 1);
  settings->seed = (uint64_t)zf_conf_int(conf, "seed", 42);
  settings->split_seed = (uint64_t)zf_conf_int(conf, "split_seed", (int64_t)settings->seed);
  settings->method = method_of(conf);
  if (settings->auto_lr && zf_method_info(settings->method)->rule >= 0)
    return zf_conf_error(conf, zf_conf_has(conf, "learning_rate") ? "learning_rate" : "method",
                         "method %s needs a learning_rate: only zeroth-order methods find one by "
                         "themselves",
                         zf_method_info(settings->method)->name);
  settings->first = (struct zf_first_order){
      .beta1 = zf_conf_num(conf, "adam_beta1", 0.9),
      .beta2 = zf_conf_num(conf, "adam_beta2", 0.999),
      .eps = zf_conf_num(conf, "adam_epsilon", 1e-8),
      .momentum = zf_conf_num(conf, "momentum", 0.9),
      .clip = zf_conf_num(conf, "max_grad_norm", 0),
      .checkpoint = zf_conf_bool(conf, "gradient_checkpointing"),
  };
  settings->zo = (struct zf_zo){
      .seed = settings->seed,
      .eps = zf_conf_num(conf, "zo_eps", zf_eps_default(settings->compute)),
      .probes = (int)zf_conf_int(conf, "zo_probes", 1),
      .direction = zf_settings_choice(conf, "zo_direction", "gaussian|rademacher"),
      .beta1 = settings->first.beta1,
      .beta2 = settings->first.beta2,
      .adam_eps = settings->first.eps,
  };
  return 0;
}

enum zf_best zf_best_of(const struct zf_data_spec *spec) {
  static const enum zf_best by_problem[ZF_PROBLEMS] = {ZF_BEST_ACCURACY, ZF_BEST_F1, ZF_BEST_LOSS};
  if (spec->type == ZF_TASK_LABELS) return by_problem[spec->problem];
  return zf_task_has_options(spec->type) ? ZF_BEST_ACCURACY : ZF_BEST_LOSS;
}

static int fill_loop(struct zf_settings *settings, const struct zf_conf *conf) {
  const char *eval = zf_conf_str(conf, "eval_steps");
  settings->eval_steps = eval && !strcmp(eval, "never") ? -1 : zf_conf_int(conf, "eval_steps", 0);
  settings->eval_on_start = zf_conf_bool(conf, "eval_on_start");
  settings->best = zf_settings_choice(conf, "metric_for_best_model", "loss|accuracy|f1|objective");
  settings->load_best = zf_conf_bool(conf, "load_best_model_at_end");
  settings->patience = zf_conf_int(conf, "early_stopping_patience", 0);
  settings->save_steps = zf_conf_int(conf, "save_steps", 0);
  settings->keyframe_steps = zf_conf_int(conf, "keyframe_steps", 0);
  settings->save_total_limit = zf_conf_int(conf, "save_total_limit", 2);
  settings->logging_steps = zf_conf_int(conf, "logging_steps", 10);
  settings->watchdog = zf_conf_num(conf, "loss_watchdog_threshold", 0);
  settings->watchdog_patience = zf_conf_int(conf, "loss_watchdog_patience", 10);
  if (settings->best == ZF_BEST_OBJECTIVE && !settings->objective.kind)
    return zf_conf_error(conf, "metric_for_best_model",
                         "'metric_for_best_model' is objective, and 'objective' is not set");
  if (settings->best < 0 && settings->objective.kind) settings->best = ZF_BEST_OBJECTIVE;
  if (settings->best > ZF_BEST_LOSS && settings->best != ZF_BEST_OBJECTIVE &&
      !zf_task_has_options(settings->train[0].spec.type))
    return zf_conf_error(conf, "metric_for_best_model",
                         "'metric_for_best_model': only classification has it; use loss");
  return 0;
}

double zf_eps_default(enum zf_compute compute) {
  static const double eps[ZF_COMPUTES] = {
      [ZF_COMPUTE_F32] = 1e-3, [ZF_COMPUTE_BF16] = 3e-3, [ZF_COMPUTE_INT8] = 1e-2};
  return eps[compute];
}

enum zf_compute zf_compute_auto(double eps) {
  if (eps < zf_eps_default(ZF_COMPUTE_BF16)) return ZF_COMPUTE_F32;
  return zf_kern_native(ZF_COMPUTE_BF16) ? ZF_COMPUTE_BF16 : ZF_COMPUTE_F32;
}

int zf_settings_fill_step(struct zf_settings *settings, const struct zf_conf *conf) {
  memset(settings, 0, sizeof *settings);
  settings->base_model = zf_conf_str(conf, "base_model");
  settings->dtype = dtype_of(conf, "dtype");
  settings->trained_dtype = dtype_of(conf, "trained_dtype");
  if (settings->trained_dtype < 0)
    settings->trained_dtype = settings->dtype < 0 ? ZF_F32 : settings->dtype;
  settings->compute = compute_of(conf);
  settings->ntrainable = zf_conf_strs(conf, "trainable", &settings->trainable);
  settings->blocks_given = zf_conf_has(conf, "train_blocks");
  settings->blocks = ZF_BLOCKS_SCALES;
  if (settings->blocks_given && zf_settings_choice(conf, "train_blocks", "scales|integers"))
    settings->blocks = ZF_BLOCKS_INTEGERS;
  settings->threads = (int)zf_conf_int(conf, "threads", 0);
  settings->memory_limit = zf_conf_bytes(conf, "memory_limit", 0);
  settings->sequence_len = zf_conf_int(conf, "sequence_len", 0);
  int rc = fill_optimizer(settings, conf);
  if (!rc) rc = zf_settings_fill_adapter(settings, conf);
  return rc ? rc : zf_settings_fill_zo(settings, conf);
}

int zf_settings_fill(struct zf_settings *settings, const struct zf_conf *conf) {
  int rc;
  if ((rc = zf_settings_fill_step(settings, conf))) return rc;
  settings->output_dir = zf_conf_str(conf, "output_dir");
  if ((rc = zf_run_config_dir(&settings->own_dir, conf, "output_dir"))) return rc;
  if (settings->own_dir && !strcmp(settings->output_dir, "."))
    settings->output_dir = settings->own_dir;
  settings->overwrite = zf_conf_bool(conf, "overwrite_output_dir");
  settings->save_dtype = dtype_of(conf, "save_dtype");
  if ((rc = zf_settings_fill_data(settings, conf))) return rc;
  if ((rc = zf_settings_fill_objective(settings, conf))) return rc;
  return fill_loop(settings, conf);
}

static void free_files(struct zf_data_file *file, int64_t count) {
  if (!file) return;
  for (int64_t i = 0; i < count; i++) free(file[i].path);
  free(file);
}

void zf_settings_free(struct zf_settings *settings) {
  free_files(settings->train, settings->ntrain);
  free_files(settings->val, settings->nval);
  free_files(settings->test, settings->ntest);
  zf_peft_config_free(&settings->adapter.config);
  zf_chat_free(settings->chat);
  free(settings->own_template);
  free(settings->own_dir);
  memset(settings, 0, sizeof *settings);
}

enum { STEPS = (1u << ZF_METHOD_PROBE) - 1 }; /* the methods that take steps */

/* Keys that only some methods read; all methods read the others. */
static const struct {
  const char *key;
  unsigned methods;
} readers[] = {
    {"zo_eps", 1u << ZF_METHOD_MEZO},
    {"zo_probes", 1u << ZF_METHOD_MEZO},
    {"zo_direction", 1u << ZF_METHOD_MEZO},
    {"zo_directions", 1u << ZF_METHOD_MEZO},
    {"zo_optimizer", 1u << ZF_METHOD_MEZO},
    {"zo_method", 1u << ZF_METHOD_MEZO},
    {"zo_form", 1u << ZF_METHOD_MEZO},
    {"zo_difference", 1u << ZF_METHOD_MEZO},
    {"zo_rank", 1u << ZF_METHOD_MEZO},
    {"zo_refresh", 1u << ZF_METHOD_MEZO},
    {"zo_keep", 1u << ZF_METHOD_MEZO},
    {"zo_curvature", 1u << ZF_METHOD_MEZO},
    {"zo_cone", 1u << ZF_METHOD_MEZO},
    {"zo_trust", 1u << ZF_METHOD_MEZO},
    {"zo_window", 1u << ZF_METHOD_MEZO},
    {"zo_clip", 1u << ZF_METHOD_MEZO},
    {"zo_anchor_batches", 1u << ZF_METHOD_MEZO},
    {"zo_streams", 1u << ZF_METHOD_MEZO},
    {"adam_beta1", 1u << ZF_METHOD_ADAMW},
    {"adam_beta2", 1u << ZF_METHOD_ADAMW},
    {"adam_epsilon", 1u << ZF_METHOD_ADAMW},
    {"momentum", 1u << ZF_METHOD_MOMENTUM},
    {"max_grad_norm", 1u << ZF_METHOD_SGD | 1u << ZF_METHOD_MOMENTUM | 1u << ZF_METHOD_ADAMW},
    {"gradient_checkpointing",
     1u << ZF_METHOD_SGD | 1u << ZF_METHOD_MOMENTUM | 1u << ZF_METHOD_ADAMW},
    {"learning_rate", STEPS},
    {"lr_scheduler", STEPS},
    {"warmup_steps", STEPS},
    {"warmup_ratio", STEPS},
    {"weight_decay", STEPS},
    {"max_steps", STEPS},
    {"num_epochs", STEPS},
    {"gradient_accumulation_steps", STEPS},
    {"early_stopping_patience", STEPS},
    {"save_steps", STEPS},
    {"save_total_limit", STEPS},
    {"keyframe_steps", STEPS},
    {"logging_steps", STEPS},
    {"loss_watchdog_threshold", STEPS},
    {"loss_watchdog_patience", STEPS},
};

/* 1 where no user has set the key.  The config.yaml in a run directory also holds the defaults. */
static int is_unset(const struct zf_conf *conf, const char *key) {
  char *dir = NULL;
  if (!zf_conf_has(conf, key) || !strcmp(zf_conf_origin(conf, key), "default")) return 1;
  int default_of_run = zf_conf_at_default(conf, key) && !zf_run_config_dir(&dir, conf, key) && dir;
  free(dir);
  return default_of_run;
}

/* 1 where zeroth-order steps have moments. */
static int estimates_by_adam(const struct zf_conf *conf) {
  const char *rule = zf_conf_str(conf, "zo_optimizer"), *form = zf_conf_str(conf, "zo_form");
  return (rule && strcmp(rule, "sgd") && strcmp(rule, "sign")) || (form && !strcmp(form, "cone"));
}

int zf_settings_unused(const struct zf_conf *conf, enum zf_method method, const char **keys,
                       int max) {
  int count = 0;
  for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
    const char *key = readers[i].key;
    if (readers[i].methods >> method & 1 || is_unset(conf, key)) continue;
    if (method == ZF_METHOD_MEZO && !strncmp(key, "adam_", 5) && estimates_by_adam(conf)) continue;
    if (count < max) keys[count] = key;
    count++;
  }
  return count;
}
