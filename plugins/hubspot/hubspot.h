/* SPDX-License-Identifier: Apache-2.0
 *
 * hubspot.h - what the sources of this plugin share. An action is a chain of
 * requests: perform queues the first, judge takes its answer and queues the
 * next. What a chain has to know is its state, behind mf_tag(). */
#ifndef HUBSPOT_H
#define HUBSPOT_H

#include <manifold/kit.h>

/* What HubSpot said of properties is believed for so long. */
#define HS_KEEP_MS 60000

/* ---- requests.c ---- */

/* A request to the API; the path begins with a slash. */
mf_request *hs_send(mf_call *c, const char *method, mf_str path, uint32_t step,
                    void *state);

/* "/crm/v3/objects/" and the type, then the tail. */
mf_str hs_objects(mf_call *c, mf_str type, mf_str tail);

/* "/" and the segment, percent-encoded. */
mf_str hs_segment(mf_call *c, mf_str segment);

/* A body {"properties":{...}}, with "associations" unless that is absent. */
void hs_properties_body(mf_request *r, mf_val properties, mf_val associations);

/* A search for records that have one of these values. */
void hs_search(mf_call *c, mf_str type, mf_val fields, mf_str sort,
               const char *const *properties, size_t count, uint32_t step,
               void *state);

/* How many a search found; the id of the first in *id. */
int64_t hs_found(mf_call *c, const mf_response *a, mf_str *id);

/* "CATEGORY:7" as an array of one {"associationCategory","associationTypeId"},
 * the id as text or as a number. */
void hs_association(mf_call *c, mf_writer *w, const char *key, mf_str label,
                    int as_text);

/* ---- what answers mean ---- */

/* Refused for good for what was in it, so that a smaller part may pass. */
int hs_bad_input(const mf_response *a);

/* HubSpot's own words, or "". */
mf_str hs_message(mf_call *c, const mf_response *a);

/* Of a batch: the first error other than a record that is not there; "" if
 * there is none. */
mf_str hs_other_error(mf_call *c, const mf_response *a);

/* Whether two values of an id property are the same: e-mails in any case. */
int hs_same_id(mf_call *c, mf_str property, mf_str one, mf_str other);

/* Its answer says that it does not know this property. */
int hs_unknown_property(mf_call *c, const mf_response *a, mf_str name);

/* ---- values.c ---- */

/* Lists as "a;b", objects as JSON, text without white space at its ends. */
mf_val hs_flat(mf_call *c, mf_val value);
mf_val hs_flat_members(mf_call *c, mf_val object);

/* The fields at paths[0..count) under those names, then those of `more`, all
 * flat; lifecyclestage in lower case. NULL among the paths is passed over. */
mf_val hs_properties(mf_call *c, const mf_event *e, const char *const *paths,
                     size_t count, mf_val more);

/* A value whose text is this. */
mf_val hs_text(mf_call *c, mf_str text);

/* Text of any value; of lists and objects their JSON, without white space. */
mf_str hs_plain(mf_call *c, mf_val value);

enum hs_kind { HS_TEXT, HS_NUMBER, HS_FLAG, HS_DATE, HS_TIME };

/* What a property of HubSpot's would have to be to hold the value. */
enum hs_kind hs_kind_of(mf_call *c, mf_val value);

/* A number, or text that is one; else absent. */
mf_val hs_number(mf_call *c, mf_val value);

/* Writes the choices of a property that is true or false. */
void hs_flag_options(mf_writer *w, int as_text);

/* ---- actions ---- */

/* How many paths of its payload each reads. */
enum {
    HS_CONTACT_PATHS = 13, HS_COMPANY_PATHS = 17, HS_RECORD_PATHS = 7,
    HS_OBJECT_PATHS = 15, HS_EVENT_PATHS = 7
};

enum {
    CONTACT_UPDATE = 1, CONTACT_CREATE, CONTACT_RESET, CONTACT_AGAIN,
    CONTACTS_READ, CONTACTS_CREATE, CONTACTS_UPDATE, CONTACTS_RESET,
    CONTACTS_AGAIN
};
mf_str hs_contact_email(mf_call *c, const mf_event *e);
mf_val hs_contact_properties(mf_call *c, const mf_event *e);
mf_str hs_stage(mf_call *c, mf_val properties);

extern const char *const hs_contact_paths[HS_CONTACT_PATHS];
int32_t hs_contact(const void *self, mf_call *c, const mf_event *e);
int32_t hs_contacts(const void *self, mf_call *c, const mf_event *const *e,
                    uint32_t n);
int32_t hs_contact_judge(const void *self, mf_call *c, const mf_request *r,
                         const mf_response *a);
int32_t hs_contacts_judge(mf_call *c, const mf_request *r,
                          const mf_response *a);

extern const char *const hs_company_paths[HS_COMPANY_PATHS];
int32_t hs_company(const void *self, mf_call *c, const mf_event *e);
int32_t hs_company_judge(const void *self, mf_call *c, const mf_request *r,
                         const mf_response *a);

extern const char *const hs_record_paths[HS_RECORD_PATHS];
int32_t hs_record(const void *self, mf_call *c, const mf_event *e);
int32_t hs_record_judge(const void *self, mf_call *c, const mf_request *r,
                        const mf_response *a);

extern const char *const hs_object_paths[HS_OBJECT_PATHS];
int32_t hs_object(const void *self, mf_call *c, const mf_event *e);
int32_t hs_objects_batch(const void *self, mf_call *c,
                         const mf_event *const *e, uint32_t n);
int32_t hs_object_judge(const void *self, mf_call *c, const mf_request *r,
                        const mf_response *a);

extern const char *const hs_event_paths[HS_EVENT_PATHS];
int32_t hs_event(const void *self, mf_call *c, const mf_event *e);
int32_t hs_event_judge(const void *self, mf_call *c, const mf_request *r,
                       const mf_response *a);

#endif
