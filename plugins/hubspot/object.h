/* SPDX-License-Identifier: Apache-2.0
 *
 * object.h - a chain: the events of one call that write records of one type
 * under one id property, and how far they have come. Every request of a chain
 * covers all its events; an event that fails on the way is settled by itself
 * and left out of what follows. */
#ifndef HUBSPOT_OBJECT_H
#define HUBSPOT_OBJECT_H

#include "hubspot.h"

enum {
    OBJECT_TYPE, ID_NAME, ID_VALUE, GROUP, PROPERTIES, SENSITIVE, FIND_MODE,
    ASSOCIATIONS, DISSOCIATIONS, AUDIENCE, LIST_NAME, LIST_ACTION, MAKE_LIST,
    TRAITS, AUDIENCE_NAME
};

enum {
    SCHEMA = 1, SCHEMA_SENSITIVE, MAKE_PROPERTIES, FIND_LIST, CREATE_LIST,
    READ, WRITE, FIND_OTHERS, LINK, MEMBERS
};

/* A property that the events set. type: HubSpot's, "" if it has none. */
struct property {
    mf_str name, type, field_type;
    enum hs_kind kind;
    int sensitive;
};

/* id: as the events say it, in the property named by the chain. found:
 * HubSpot's own id, "" until it is known. */
struct record {
    mf_str id, found;
    mf_val properties;
    int seen; /* in the last answer */
};

struct member {
    const mf_event *event;
    uint32_t index; /* in the call */
    int out;        /* settled, or with nothing left to do */
    struct record *record;
};

struct chain {
    mf_str type, id_name, mode, list, list_id;
    struct member *members;
    struct property *properties;
    struct record *records;
    uint32_t member_count, property_count, record_count;
    uint32_t phase, pending; /* pending: requests without an answer yet */
};

/* Other records that members are to be linked with or separated from. */
struct link {
    struct chain *chain;
    mf_str type, id_name;
    struct other {
        struct member *member;
        mf_str id, label, found;
    } *others;
    uint32_t count;
    int cut; /* the links are to be removed */
};

/* A request that covers the chain's events; counted as pending. */
mf_request *object_send(mf_call *c, struct chain *k, const char *method,
                        mf_str path, uint32_t step, void *state);

/* The member gets this result; the others go on. */
void object_drop(mf_call *c, struct member *m, int32_t status, mf_str why);
void object_drop_all(mf_call *c, struct chain *k, int32_t status, mf_str why);

/* schema.c */
void schema_ask(mf_call *c, struct chain *k);
void schema_take(mf_call *c, struct chain *k, int sensitive,
                 const mf_response *a);
void schema_make(mf_call *c, struct chain *k);
void schema_check(mf_call *c, struct chain *k);

/* link.c */
void link_find(mf_call *c, struct chain *k);
void link_cut(mf_call *c, struct chain *k);
void link_write(mf_call *c, struct link *l, const mf_response *a);
void link_refused(mf_call *c, struct link *l, const mf_response *a);

#endif
