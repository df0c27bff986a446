/* The table of update rules, and those that a kernel applies element by element. */
#include "zo/rule.h"

const struct zf_rule_kind *const zf_rules[ZF_RULES] = {
    [ZF_RULE_SGD] = &zf_rule_sgd,           [ZF_RULE_ADAM] = &zf_rule_adam,
    [ZF_RULE_MOMENTUM] = &zf_rule_momentum, [ZF_RULE_SIGN] = &zf_rule_sign,
    [ZF_RULE_ADAMM] = &zf_rule_adamm,       [ZF_RULE_MUON] = &zf_rule_muon,
    [ZF_RULE_TRUST] = &zf_rule_trust,
};

#define MEAN (1u << ZF_STATE_MEAN)
#define SQUARE (1u << ZF_STATE_SQUARE)
#define MAX (1u << ZF_STATE_MAX)

const struct zf_rule_kind zf_rule_sgd = {"sgd", ZF_UPDATE_ADD, ZF_UPDATE_ADD, 0, 0, 0, 0, NULL};

const struct zf_rule_kind zf_rule_momentum = {
    "momentum", ZF_UPDATE_MOMENTUM, ZF_UPDATE_ADD, MEAN, 1, 0, 0, NULL};

const struct zf_rule_kind zf_rule_adam = {
    "adam", ZF_UPDATE_ADAM, ZF_UPDATE_WINDOW, MEAN | SQUARE, 1, 1, 1, NULL};

const struct zf_rule_kind zf_rule_adamm = {
    "adamm", ZF_UPDATE_AMSGRAD, ZF_UPDATE_AMSGRAD, MEAN | SQUARE | MAX, 0, 0, 1, NULL};

const struct zf_rule_kind zf_rule_sign = {"sign", ZF_UPDATE_SIGN, ZF_UPDATE_SIGN, 0, 0, 0, 1, NULL};

double zf_zo_power(double base, uint32_t exponent) {
  double result = 1;
  for (; exponent; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}
