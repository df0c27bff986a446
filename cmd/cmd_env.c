/* zoft env: describes this machine and this build, for reports of problems. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <sleef.h>
#include <sys/utsname.h>
#include <utf8proc.h>

#include "base/cpu.h"
#include "opt.h"
#include "train/settings.h"
#include "ui.h"

static int run(const struct zc_args *args) {
  char names[96], cores[16], pcre[64] = "", sleef[32], compute[64], computes[ZF_COMPUTES][48];
  struct utsname utsname;
  if (args->nword || args->nset) return zf_error(ZF_EUSAGE, "expected no word after 'zoft env'");
  uname(&utsname);
  pcre2_config(PCRE2_CONFIG_VERSION, pcre);
  snprintf(cores, sizeof cores, "%d", zf_cpu_cores());
  snprintf(sleef, sizeof sleef, "%d.%d.%d", SLEEF_VERSION_MAJOR, SLEEF_VERSION_MINOR,
           SLEEF_VERSION_PATCHLEVEL);
  for (int i = 0; i < ZF_COMPUTES; i++)
    snprintf(computes[i], sizeof computes[i], "%s on %s",
             zf_kern_native((enum zf_compute)i) ? "native" : "emulated",
             zf_kern_name((enum zf_compute)i));
  enum zf_compute chosen = zf_compute_auto(INFINITY);
  snprintf(compute, sizeof compute, "auto is %s, with zo_eps %g", zf_compute_name(chosen),
           zf_eps_default(chosen));
  const char *const rows[][2] = {
      {"zoft", ZF_VERSION},
      {"system", utsname.sysname},
      {"release", utsname.release},
      {"machine", utsname.machine},
      {"cpu", zf_cpu_brand()},
      {"features", zf_cpu_names(names, zf_cpu_flags())},
      {"compute", compute},
      {"f32", computes[ZF_COMPUTE_F32]},
      {"bf16", computes[ZF_COMPUTE_BF16]},
      {"int8", computes[ZF_COMPUTE_INT8]},
      {"cores", cores},
      {"compiler", __VERSION__},
      {"sleef", sleef},
      {"jansson", JANSSON_VERSION},
      {"pcre2", pcre},
      {"utf8proc", utf8proc_version()},
      {"libyaml", yaml_get_version_string()},
  };
  struct zf_buf buf = {0};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    zf_buf_printf(&buf, "%s\"%s\": ", i ? ", " : "{", rows[i][0]);
    zc_json_text(&buf, rows[i][1], strlen(rows[i][1]));
  }
  if (!zc_common.json)
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
      printf("%-10s %s\n", rows[i][0], rows[i][1]);
  else
    printf("%s}\n", buf.data);
  zf_buf_free(&buf);
  return 0;
}

const struct zc_command zc_env = {
    "env", "what this machine and this build are", "zoft env [--json]", NULL, NULL, run,
};
