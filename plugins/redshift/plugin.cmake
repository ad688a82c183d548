# The warehouse itself is the postgres plugin's; what differs is here.
file(GLOB warehouse CONFIGURE_DEPENDS ${dir}/../postgres/*.c)
list(FILTER warehouse EXCLUDE REGEX "/postgres\\.c$|_test\\.c$")
target_sources(plugin-${slug} PRIVATE ${warehouse})
include(${dir}/../postgres/libpq.cmake)
