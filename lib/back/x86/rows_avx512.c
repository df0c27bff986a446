/* The row functions, compiled for this instruction set by the suffix of the file's name. */
#define ROWS_TABLE zf_back_rows_avx512
#include "back/rows_tmpl.h"
