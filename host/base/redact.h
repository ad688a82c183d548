/* SPDX-License-Identifier: Apache-2.0
 *
 * redact.h - the secrets that must not be shown, and their removal from text.
 *
 * A set is filled once and then only read, by any number of threads. Each
 * secret is known in the shapes it travels in: as it is, escaped as JSON,
 * percent- and form-encoded, and inside base64 at every alignment (so "Basic"
 * credentials go too, but for up to two bytes at either end). Values shorter
 * than REDACT_MIN are not taken: removing every "8080" would hide nothing and
 * spoil everything. */
#ifndef BASE_REDACT_H
#define BASE_REDACT_H

#include "base/buf.h"

#include <manifold/types.h>
#include <stddef.h>

#define REDACT_MIN     6       /* bytes of the shortest secret taken */
#define REDACT_MAX     65536   /* bytes of the longest */
#define REDACT_SECRETS 20000   /* in one set; more are refused */
#define REDACT_MARK    "***"

struct redact;

struct redact *redact_new(void);
void redact_free(struct redact *r); /* wipes; NULL is fine */
/* Copies. Returns false when the value was not taken: too short, too long, or
 * the set is full. Adding the same value twice keeps one. */
bool redact_add(struct redact *r, mf_str secret);
size_t redact_count(const struct redact *r);
/* The n-th secret as it was added, to be handed to another process. */
mf_str redact_nth(const struct redact *r, size_t n);
/* Replaces every stretch of secrets in b from offset `from` on by "***", in
 * place: the text only gets shorter. r may be NULL. Returns how many
 * stretches there were. */
size_t redact_buf(const struct redact *r, struct buf *b, size_t from);
/* The same on len bytes of text; returns the new length. No NUL is added. */
size_t redact_text(const struct redact *r, char *text, size_t len);

#endif
