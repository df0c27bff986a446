/* Shared by the reader and the writer of a teacher's predictions. */
#ifndef ZF_EVAL_TEACHER_INTERNAL_H
#define ZF_EVAL_TEACHER_INTERNAL_H

#include "eval/teacher.h"

enum { ZF_TEACHER_MAGIC = 8 };
extern const char zf_teacher_magic[ZF_TEACHER_MAGIC + 1];

/* Temperatures beyond these give f32 logits that overflow, or a uniform distribution. */
#define ZF_TEACHER_COLDEST 1e-3
#define ZF_TEACHER_HOTTEST 1e3

#endif
