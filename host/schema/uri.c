/* SPDX-License-Identifier: Apache-2.0
 *
 * uri.c - see uri.h. */
#include "schema/uri.h"

#include <string.h>

static mf_str part(mf_str s, size_t from, size_t to)
{
    return (mf_str){ s.ptr + from, to - from };
}

static size_t find(mf_str s, size_t from, const char *set)
{
    while (from < s.len && !(s.ptr[from] && strchr(set, s.ptr[from])))
        from++;
    return from;
}

mf_str uri_split(mf_str uri, mf_str *fragment)
{
    size_t hash = find(uri, 0, "#");

    *fragment = (mf_str){ NULL, 0 };
    if (hash < uri.len)
        *fragment = part(uri, hash + 1, uri.len);
    return part(uri, 0, hash);
}

/* The length of "scheme:", 0 if there is none. */
static size_t scheme_of(mf_str s)
{
    size_t end = find(s, 0, ":/?#");

    return end < s.len && s.ptr[end] == ':' && end > 0 ? end + 1 : 0;
}

/* The length of "scheme://authority". */
static size_t authority_of(mf_str s)
{
    size_t at = scheme_of(s);

    if (s.len >= at + 2 && s.ptr[at] == '/' && s.ptr[at + 1] == '/')
        at = find(s, at + 2, "/?#");
    return at;
}

/* Takes /./ and /x/../ out of a path; returns the new length. */
static size_t without_dots(char *path, size_t len)
{
    size_t to = 0, i = 0;

    while (i < len) {
        size_t next = i + 1;

        while (next < len && path[next] != '/')
            next++;
        if (next - i == 2 && memcmp(path + i, "/.", 2) == 0) {
            if (next == len)
                path[to++] = '/';
        } else if (next - i == 3 && memcmp(path + i, "/..", 3) == 0) {
            while (to > 0 && path[--to] != '/')
                ;
            if (next == len)
                path[to++] = '/';
        } else {
            memmove(path + to, path + i, next - i);
            to += next - i;
        }
        i = next;
    }
    return to;
}

mf_str uri_resolve(mf_str base, mf_str reference, struct arena *a)
{
    mf_str ignored, document = uri_split(base, &ignored), path, tail, whole;
    size_t authority = authority_of(document), end;

    if (scheme_of(reference) || base.len == 0)
        return arena_copy(a, reference);
    if (reference.len == 0 || reference.ptr[0] == '#')
        return arena_printf(a, "%.*s%.*s", (int)document.len,
                            document.len ? document.ptr : "",
                            (int)reference.len, reference.ptr);
    if (reference.len > 1 && reference.ptr[0] == '/' &&
        reference.ptr[1] == '/')
        authority = scheme_of(document);
    end = find(reference, 0, "?#");
    path = part(reference, 0, end);
    tail = part(reference, end, reference.len);
    if (path.ptr[0] != '/') {
        size_t last = find(document, authority, "?#");

        while (last > authority && document.ptr[last - 1] != '/')
            last--;
        if (last == authority)
            path = arena_printf(a, "%s%.*s", authority ? "/" : "",
                                (int)path.len, path.ptr);
        else
            path = arena_printf(a, "%.*s%.*s", (int)(last - authority),
                                document.ptr + authority, (int)path.len,
                                path.ptr);
    } else {
        path = arena_copy(a, path);
    }
    path.len = without_dots((char *)(uintptr_t)path.ptr, path.len);
    whole = arena_printf(a, "%.*s%.*s%.*s", (int)authority,
                         authority ? document.ptr : "", (int)path.len,
                         path.ptr, (int)tail.len, tail.len ? tail.ptr : "");
    return whole;
}
