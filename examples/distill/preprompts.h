/*
 * Safety preprompts for context distillation: general ones, and answer templates for the risk categories of section 4.2
 * ("illicit", "hateful", "unqualified").
 */
#ifndef EXAMPLES_PREPROMPTS_H
#define EXAMPLES_PREPROMPTS_H

#include <stddef.h>

/* The preprompt number i (any number: they come round) for a risk category; NULL, or one that is not known: a general
 * one. */
const char *preprompts_get(const char *risk, size_t i);

#endif
