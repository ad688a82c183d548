/* SPDX-License-Identifier: Apache-2.0
 *
 * scaffold.c - see scaffold.h. What comes of these texts builds without a
 * warning and passes its own cases; the test docs.new-plugin holds them to it.
 *
 * The manifest is put together from parts, since with C it has one action
 * more. */
#include "cli/scaffold.h"

#include "base/mem.h"

/* ---- manifest.json ---- */

#define MANIFEST_HEAD                                                          \
    "{\n"                                                                      \
    "  \"slug\": \"@SLUG@\",\n"                                                \
    "  \"name\": \"@NAME@\",\n"                                                \
    "  \"version\": \"0.1.0\",\n"                                              \
    "  \"docs\": \"https://api.example.com/docs\",\n"                          \
    "  \"kind\": \"http\",\n"                                                  \
    "  \"hosts\": [\"api.example.com\"],\n"                                    \
    "  \"headers\": { \"authorization\": { \"@template\": "                    \
    "\"Bearer {{settings.apiKey}}\" } },\n"                                    \
    "  \"settings\": [\n"                                                      \
    "    {\n"                                                                  \
    "      \"key\": \"apiKey\", \"label\": \"API key\", \"type\": "            \
    "\"password\", \"required\": true,\n"                                      \
    "      \"description\": \"Where in @NAME@ to find it.\"\n"                 \
    "    }\n"                                                                  \
    "  ],\n"                                                                   \
    "  \"fields\": {\n"                                                        \
    "    \"user\": {\n"                                                        \
    "      \"label\": \"User\", \"type\": \"string\", \"required\": true,\n"   \
    "      \"description\": \"Whom the event is about.\",\n"                   \
    "      \"default\": { \"@if\": { \"exists\": { \"@path\": \"$.userId\" }, " \
    "\"then\": { \"@path\": \"$.userId\" }, "                                  \
    "\"else\": { \"@path\": \"$.anonymousId\" } } }\n"                         \
    "    },\n"                                                                 \
    "    \"event\": {\n"                                                       \
    "      \"label\": \"Event\", \"type\": \"string\", \"required\": true,\n"  \
    "      \"description\": \"What happened.\",\n"                             \
    "      \"default\": { \"@path\": \"$.event\" }\n"                          \
    "    },\n"                                                                 \
    "    \"properties\": {\n"                                                  \
    "      \"label\": \"Properties\", \"type\": \"object\",\n"                 \
    "      \"description\": \"Sent as they are.\",\n"                          \
    "      \"default\": { \"@path\": \"$.properties\" }\n"                     \
    "    }\n"                                                                  \
    "  },\n"                                                                   \
    "  \"actions\": [\n"                                                       \
    "    {\n"                                                                  \
    "      \"slug\": \"track\", \"title\": \"Track\",\n"                       \
    "      \"description\": \"Sends one event.\",\n"                           \
    "      \"subscribe\": \"type = \\\"track\\\"\",\n"                         \
    "      \"fields\": [\"user\", \"event\", \"properties\"],\n"               \
    "      \"request\": {\n"                                                   \
    "        \"method\": \"POST\", \"url\": "                                  \
    "\"https://api.example.com/v1/track\",\n"                                  \
    "        \"body\": { \"@path\": \"$.payload\" }\n"                         \
    "      }\n"                                                                \
    "    }"

#define MANIFEST_CODED                                                         \
    ",\n"                                                                      \
    "    {\n"                                                                  \
    "      \"slug\": \"import\", \"title\": \"Import\",\n"                     \
    "      \"description\": \"Sends many events in one request.\",\n"          \
    "      \"subscribe\": \"type = \\\"track\\\"\",\n"                         \
    "      \"batch\": { \"size\": 500, \"bytes\": 1000000, \"default\": true " \
    "},\n"                                                                     \
    "      \"fields\": [\"user\", \"event\", \"properties\"]\n"                \
    "    }"

#define MANIFEST_TAIL                                                          \
    "\n"                                                                       \
    "  ],\n"                                                                   \
    "  \"presets\": [\n"                                                       \
    "    { \"name\": \"All track events\", \"action\": \"track\",\n"           \
    "      \"subscribe\": \"type = \\\"track\\\"\", \"type\": \"automatic\" "  \
    "}\n"                                                                      \
    "  ]\n"                                                                    \
    "}\n"

/* ---- cases/ ---- */

static const char cases_track[] =
    "[\n"
    "  {\n"
    "    \"what\": \"one event is one request\",\n"
    "    \"settings\": { \"apiKey\": \"key\" },\n"
    "    \"action\": \"track\",\n"
    "    \"event\": {\n"
    "      \"type\": \"track\", \"userId\": \"u-1\", \"event\": \"Ordered\","
    " \"properties\": { \"total\": 49.9 }\n"
    "    },\n"
    "    \"expect\": {\n"
    "      \"requests\": [\n"
    "        {\n"
    "          \"method\": \"POST\", \"url\": "
    "\"https://api.example.com/v1/track\",\n"
    "          \"headers\": { \"authorization\": \"Bearer key\" },\n"
    "          \"json\": { \"user\": \"u-1\", \"event\": \"Ordered\","
    " \"properties\": { \"total\": 49.9 } }\n"
    "        }\n"
    "      ]\n"
    "    }\n"
    "  },\n"
    "  {\n"
    "    \"what\": \"an event of nobody is refused before anything is sent\",\n"
    "    \"settings\": { \"apiKey\": \"key\" },\n"
    "    \"action\": \"track\",\n"
    "    \"event\": { \"type\": \"track\", \"event\": \"Ordered\" },\n"
    "    \"expect\": { \"error\": { \"status\": 400, \"message\": \"user\" } }\n"
    "  },\n"
    "  {\n"
    "    \"what\": \"a far side that is busy: to be tried again\",\n"
    "    \"settings\": { \"apiKey\": \"key\" },\n"
    "    \"action\": \"track\",\n"
    "    \"event\": { \"type\": \"track\", \"anonymousId\": \"a-1\", \"event\":"
    " \"Ordered\" },\n"
    "    \"responses\": [{ \"status\": 503 }],\n"
    "    \"expect\": {\n"
    "      \"requests\": [\n"
    "        { \"url\": \"https://api.example.com/v1/track\", \"json\":"
    " { \"user\": \"a-1\", \"event\": \"Ordered\" } }\n"
    "      ],\n"
    "      \"error\": { \"status\": 503 }\n"
    "    }\n"
    "  }\n"
    "]\n";

static const char cases_import[] =
    "[\n"
    "  {\n"
    "    \"what\": \"of two events the far side takes one\",\n"
    "    \"kind\": \"batch\",\n"
    "    \"settings\": { \"apiKey\": \"key\" },\n"
    "    \"action\": \"import\",\n"
    "    \"events\": [\n"
    "      { \"type\": \"track\", \"userId\": \"u-1\", \"event\": \"Seen\" },\n"
    "      { \"type\": \"track\", \"userId\": \"u-2\", \"event\": \"Paid\" }\n"
    "    ],\n"
    "    \"responses\": [\n"
    "      { \"status\": 200, \"json\": { \"failed\": [{ \"index\": 1,"
    " \"reason\": \"no such plan\" }] } }\n"
    "    ],\n"
    "    \"expect\": {\n"
    "      \"requests\": [\n"
    "        {\n"
    "          \"url\": \"https://api.example.com/v1/import\",\n"
    "          \"json\": { \"events\": [{ \"user\": \"u-1\", \"event\":"
    " \"Seen\" }, { \"user\": \"u-2\", \"event\": \"Paid\" }] }\n"
    "        }\n"
    "      ],\n"
    "      \"results\": [{ \"status\": 200 }, { \"status\": 400, \"message\":"
    " \"no such plan\" }]\n"
    "    }\n"
    "  },\n"
    "  {\n"
    "    \"what\": \"a batch that was not looked at fails as a whole\",\n"
    "    \"kind\": \"batch\",\n"
    "    \"settings\": { \"apiKey\": \"key\" },\n"
    "    \"action\": \"import\",\n"
    "    \"events\": [{ \"type\": \"track\", \"userId\": \"u-1\", \"event\":"
    " \"Seen\" }],\n"
    "    \"responses\": [{ \"status\": 502 }],\n"
    "    \"expect\": {\n"
    "      \"requests\": [\n"
    "        { \"url\": \"https://api.example.com/v1/import\", \"json\":"
    " { \"events\": [{ \"user\": \"u-1\", \"event\": \"Seen\" }] } }\n"
    "      ],\n"
    "      \"results\": [{ \"status\": 502 }]\n"
    "    }\n"
    "  }\n"
    "]\n";

/* ---- <slug>.c ---- */

static const char code[] =
    "/* @SLUG@.c - what manifest.json cannot say of @NAME@: the action `import`"
    "\n"
    " * sends a batch, and the answer names the events that were not taken. */\n"
    "#include <manifold/kit.h>\n"
    "\n"
    "/* What mf_field() reads from a payload, by index. */\n"
    "enum { USER, EVENT, PROPERTIES };\n"
    "static const char *const paths[] = { \"user\", \"event\", \"properties\" };"
    "\n"
    "\n"
    "static int32_t import_batch(const void *self, mf_call *c,\n"
    "                            const mf_event *const *events, uint32_t n)\n"
    "{\n"
    "    mf_request *r =\n"
    "        mf_send(c, \"POST\", MF_STR(\"https://api.example.com/v1/import\"))"
    ";\n"
    "    mf_writer *w = mf_json_body(r);\n"
    "\n"
    "    (void)self;\n"
    "    mf_w_object(w, NULL);\n"
    "    mf_w_array(w, \"events\");\n"
    "    for (uint32_t i = 0; i < n; i++) {\n"
    "        mf_w_object(w, NULL);\n"
    "        mf_w_val(w, \"user\", mf_field(events[i], USER));\n"
    "        mf_w_val(w, \"event\", mf_field(events[i], EVENT));\n"
    "        mf_w_val(w, \"properties\", mf_field(events[i], PROPERTIES));\n"
    "        mf_w_end(w);\n"
    "        mf_covers(r, i);\n"
    "    }\n"
    "    mf_w_end(w);\n"
    "    mf_w_end(w);\n"
    "    return MF_OK;\n"
    "}\n"
    "\n"
    "static int32_t import_one(const void *self, mf_call *c,\n"
    "                          const mf_event *event)\n"
    "{\n"
    "    return import_batch(self, c, &event, 1);\n"
    "}\n"
    "\n"
    "/* 200 {\"failed\":[{\"index\":1,\"reason\":\"...\"}]}: those named will "
    "never be\n"
    " * taken, all others were. Other answers the host judges by the status. */"
    "\n"
    "static int32_t import_judge(const void *self, mf_call *c,\n"
    "                            const mf_request *r, const mf_response *a)\n"
    "{\n"
    "    mf_val failed = mf_get(c, mf_answer_json(a), \"failed\"), one;\n"
    "    mf_iter it = { { 0 } };\n"
    "    mf_str key;\n"
    "\n"
    "    (void)self;\n"
    "    if (mf_status(a) != 200)\n"
    "        return MF_OK;\n"
    "    while (mf_next(c, failed, &it, &key, &one)) {\n"
    "        int64_t k = mf_integer(c, mf_get(c, one, \"index\"), -1);\n"
    "        uint32_t event = k < 0 || k >= MF_ALL ? MF_ALL\n"
    "                                              : mf_covered(r, (uint32_t)k)"
    ";\n"
    "\n"
    "        if (event != MF_ALL)\n"
    "            mf_result(c, event, MF_INVALID,\n"
    "                      mf_text(c, mf_get(c, one, \"reason\")));\n"
    "    }\n"
    "    return MF_DELIVERED;\n"
    "}\n"
    "\n"
    "static const mf_action actions[] = {\n"
    "    { .slug = \"import\", .paths = paths, .path_count = 3,\n"
    "      .perform = import_one, .perform_batch = import_batch,\n"
    "      .judge = import_judge },\n"
    "};\n"
    "\n"
    "MF_DESTINATION(actions);\n";

/* ---- README.md, CMakeLists.txt ---- */

static const char readme[] =
    "# @NAME@\n"
    "\n"
    "What it is sent, in one sentence.\n"
    "\n"
    "Followed: the vendor's document, its address, and the day it was read.\n"
    "\n"
    "## Settings\n"
    "| setting | |\n"
    "|---|---|\n"
    "| `apiKey` | required; where to find it |\n"
    "\n"
    "## What is mapped\n"
    "`user`, `event` and `properties`. The preset takes all track events.\n"
    "\n"
    "## What the answer means\n"
    "2xx: delivered. 408, 423, 425, 429 and 5xx but 501: tried again. All else:"
    "\n"
    "dead letter.\n"
    "\n"
    "## Limits\n"
    "The vendor's, and which of them are checked here.\n";

static const char build[] =
    "# cmake -S . -B build && cmake --build build && manifold test .\n"
    "cmake_minimum_required(VERSION 3.25)\n"
    "project(@SLUG@ LANGUAGES C)\n"
    "\n"
    "find_package(Manifold REQUIRED)\n"
    "manifold_plugin(${CMAKE_CURRENT_SOURCE_DIR})\n";

/* ---- the table ---- */

const struct scaffold_file scaffold_files[] = {
    { "manifest.json", FOR_DECLARED, MANIFEST_HEAD MANIFEST_TAIL },
    { "manifest.json", FOR_CODED,
      MANIFEST_HEAD MANIFEST_CODED MANIFEST_TAIL },
    { "@SLUG@.c", FOR_CODED, code },
    { "cases/track.json", FOR_ALL, cases_track },
    { "cases/import.json", FOR_CODED, cases_import },
    { "README.md", FOR_ALL, readme },
    { "CMakeLists.txt", FOR_OUTSIDE, build },
};
const size_t scaffold_file_count = COUNT_OF(scaffold_files);
