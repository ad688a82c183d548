/* SPDX-License-Identifier: Apache-2.0
 *
 * dashboard.h - the page at GET /: one text, no file, nothing from outside. */
#ifndef ADMIN_DASHBOARD_H
#define ADMIN_DASHBOARD_H

extern const char dashboard_html[];

#endif
