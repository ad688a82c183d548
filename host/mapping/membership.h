/* SPDX-License-Identifier: Apache-2.0
 *
 * membership.h - does an event put its user into an audience or out of it?
 *
 * Two producers tell it in different ways: Engage by a boolean beside the
 * audience's key, reverse ETL by the name of the event under a sync mode. */
#ifndef MAPPING_MEMBERSHIP_H
#define MAPPING_MEMBERSHIP_H

#include "json/json.h"

enum membership { MEMBERSHIP_NONE, MEMBERSHIP_OUT, MEMBERSHIP_IN };

/* sync_mode is the mapping's __segment_internal_sync_mode, "" if there is
 * none; features are the flags of the call, MF_ABSENT if there are none. */
enum membership membership_of(mf_val event, mf_str sync_mode, mf_val features,
                              struct arena *scratch);
enum membership membership_engage(mf_val event, mf_val features,
                                  struct arena *scratch);
enum membership membership_retl(mf_val event, mf_str sync_mode,
                                struct arena *scratch);

#endif
