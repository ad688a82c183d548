/* SPDX-License-Identifier: Apache-2.0
 *
 * salesforce.h - what the two halves share: salesforce.c, which sends a record
 * at a time to the REST API, and bulk.c, which sends batches as jobs. */
#ifndef SALESFORCE_H
#define SALESFORCE_H

#include <manifold/kit.h>

enum operation { OP_NONE, OP_CREATE, OP_UPDATE, OP_UPSERT, OP_DELETE };

struct sf {
    mf_str api; /* "https://acme.my.salesforce.com/services/data/v53.0" */
};

struct sf_action {
    mf_action base;
    const char *object; /* NULL: the payload names it */
    const char *needed[3]; /* fields that a new record must have */
    uint32_t sync_mode; /* 1: the sync mode says what to do, not a field */
};

enum {
    TRAITS, MATCHER, EXTERNAL_ID, EXTERNAL_VALUE, RECORD_ID, OBJECT, CUSTOM,
    OPERATION, PATHS
};

/* What is asked of one event. */
struct order {
    enum operation op;
    mf_str object;
    mf_str why; /* it cannot be done, for this reason */
};

/* Steps of a call, for mf_tag(). */
enum {
    STEP_WRITE, STEP_DELETE, STEP_FIND,
    /* of a job, in this order */
    STEP_OPEN, STEP_UPLOAD, STEP_CLOSE, STEP_WAIT, STEP_FAILED,
    STEP_UNPROCESSED, STEP_ABORT
};

/* A walk over the fields of a record, by Salesforce's names for them. A name
 * lives until the next step. */
struct fields {
    mf_iter it;
    mf_val payload, custom;
    uint32_t in_custom;
    char name[64];
};

struct fields sf_fields(const mf_event *e);
uint32_t sf_next(mf_call *c, struct fields *f, mf_str *name, mf_val *value);
/* With `why` where the event asks for what cannot be. */
struct order sf_order(mf_call *c, const mf_event *e);
int sf_is_name(mf_str s);

/* What an answer that is no success means: a status, and why. */
int32_t sf_verdict(mf_call *c, const mf_response *a, mf_str *why);
/* The same of one record's error: "CODE:text". */
int32_t sf_class(mf_str error);
/* Judges an answer that is no success: MF_OK where its status says it all. */
int32_t sf_failed(mf_call *c, const mf_request *r, const mf_response *a);

int32_t bulk_perform(const void *self, mf_call *c,
                     const mf_event *const *events, uint32_t n);
int32_t bulk_judge(mf_call *c, const mf_request *r, const mf_response *a);

#endif
