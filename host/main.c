/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - the one binary. */
#include <stdio.h>

int main(void)
{
    puts("manifold " MANIFOLD_VERSION);
    return 0;
}
