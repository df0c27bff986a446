/* Unicode normalization forms of a piece. */
#ifndef ZF_TEXT_FORMS_INTERNAL_H
#define ZF_TEXT_FORMS_INTERNAL_H

#include "text_internal.h"

enum zf_form { ZF_NFC, ZF_NFD, ZF_NFKC, ZF_NFKD };

/* Appends the form of a piece of w->cur to w->next. */
int zf_form_apply(enum zf_form form, struct zf_work *w, const struct zf_piece *p);

#endif
