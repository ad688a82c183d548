/* SPDX-License-Identifier: Apache-2.0
 *
 * zendesk.h - what the sources of this plugin share. An action is a chain of
 * requests. What it has to know stands in a task; each request brings the
 * function that takes its answer. */
#ifndef ZENDESK_H
#define ZENDESK_H

#include <manifold/kit.h>

#define ZD_NOT_FOUND 404
#define ZD_NOTHING   ((mf_val){ "{}", 2, MF_OBJECT })

/* Records, which have custom fields and are made or updated in one call. */
struct zd_kind {
    const char *name;   /* of the member around it: "user" */
    const char *upsert; /* path */
    const char *fields; /* path and name of the list of custom fields */
    const char *field;  /* name of one */
};

struct task;

/* Takes an answer. Returns what judge() may. */
typedef int32_t zd_then(mf_call *, struct task *, const mf_request *,
                        const mf_response *);
/* The same when a user was looked for; MF_ABSENT if there is none. */
typedef int32_t zd_found(mf_call *, struct task *, const mf_request *,
                         mf_val user);
/* Queues the request that writes the record, and returns MF_CONTINUE. */
typedef int32_t zd_write(mf_call *, struct task *);

struct task {
    const mf_event *event;
    const struct zd_kind *kind;
    zd_write *write;
    mf_val left;       /* custom fields not seen in Zendesk so far */
    mf_val custom;     /* those seen there, as they are written */
    uint32_t may_make; /* those that are not there */
    uint32_t making;   /* how many of them are being made */
    zd_found *found;
    mf_str email;      /* whom to find, when the id finds nobody */
    mf_str user;       /* the user's id in Zendesk */
    mf_str id;         /* the organisation's */
};

/* ---- zendesk.c ---- */

struct task *zd_task(mf_call *c, const mf_event *e,
                     const struct zd_kind *kind);

/* A request to the API of the account; the path is that behind /api/v2/. then
 * is NULL for the last one of a chain, which is judged by its status. */
mf_request *zd_send(mf_call *c, const char *method, mf_str path,
                    zd_then *then, struct task *t);

/* "users", "7" and "/events" as users/7/events. */
mf_str zd_path(mf_call *c, const char *of, mf_str id, const char *tail);

/* Something of that value is there already. */
int zd_duplicate(const mf_response *a);

/* An id as the number that it is. */
void zd_w_id(mf_call *c, mf_writer *w, const char *key, mf_str id);

/* Members at paths[from..to), under those names. */
void zd_w_fields(mf_writer *w, const mf_event *e, const char *const *paths,
                 size_t from, size_t to);

/* ---- fields.c ---- */

/* The members of an object as custom fields, in Zendesk's spelling, but for
 * those named in `known`. */
mf_val zd_custom(mf_call *c, mf_val object, const char *const *known,
                 size_t count);

/* Looks up which of t->left there are, makes those that are missing, if it may,
 * and then calls write(). For perform. */
int32_t zd_with_fields(mf_call *c, struct task *t, uint32_t may_make,
                       zd_write *write);

/* ---- person.c ---- */

/* Finds the user of that external id, else of that e-mail address, and calls
 * found(). One of both must be given. */
void zd_find_user(mf_call *c, struct task *t, mf_str external_id,
                  mf_str email, zd_found *found);

/* Text of two values is the same but for the case of letters. */
int zd_same(mf_call *c, mf_val one, mf_str other);

/* ---- actions ---- */

enum { ZD_USER_PATHS = 14, ZD_ORGANIZATION_PATHS = 10, ZD_EVENT_PATHS = 9,
       ZD_TICKET_PATHS = 7 };
extern const char *const zd_user_paths[ZD_USER_PATHS];
extern const char *const zd_organization_paths[ZD_ORGANIZATION_PATHS];
extern const char *const zd_event_paths[ZD_EVENT_PATHS];
extern const char *const zd_ticket_paths[ZD_TICKET_PATHS];
int32_t zd_user(const void *self, mf_call *c, const mf_event *e);
int32_t zd_organization(const void *self, mf_call *c, const mf_event *e);
int32_t zd_event(const void *self, mf_call *c, const mf_event *e);
int32_t zd_ticket(const void *self, mf_call *c, const mf_event *e);

#endif
