#include "fmt/problem.h"

const char *const zf_problem_names[ZF_PROBLEMS] = {"single_label_classification",
                                                   "multi_label_classification", "regression"};
