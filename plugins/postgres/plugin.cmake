include(${dir}/libpq.cmake)
