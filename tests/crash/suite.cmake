# Campaigns: kill -9, power cuts, full disks, sick neighbours, outages,
# backlogs, reloads, slow clients. Each is a command that runs for as long as it is told; a
# smoke of it runs here in seconds, those that compare rates alone. See the head
# of each.
set(crash_alone neighbours outage reloads)
set(crash_dir ${CMAKE_SOURCE_DIR}/tests/crash)
find_program(PYTHON3 python3)

function(campaign name)
    if(NOT PYTHON3)
        return()
    endif()
    add_test(NAME crash.${name}
        COMMAND ${PYTHON3} -B ${crash_dir}/${name}.py
            --manifold $<TARGET_FILE:manifold>
            --plugins ${CMAKE_BINARY_DIR}/plugins ${ARGN})
    set_tests_properties(crash.${name} PROPERTIES
        LABELS crash TIMEOUT 180 SKIP_RETURN_CODE 77)
    if(name IN_LIST crash_alone)
        set_tests_properties(crash.${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

campaign(kill --kills 5 --seed 1)
campaign(power --points 4 --events 300 --lives 2 --seed 1)
campaign(disk_full --episodes 2 --within 5)
campaign(clock)
campaign(neighbours --pairs 1 --seconds 0.7 --settle 0.3 --creep 0 --rate 50
    --smoke)
campaign(outage --minutes 0.7 --speed 6 --rate 50 --drain 200 --window 10)
campaign(backlog --events 20000 --fresh 5000 --seconds 1 --whole --sanitized)
campaign(reloads --reloads 6 --blocks 2 --quiet 1 --rate 200 --sanitized)
campaign(slowloris --connections 400 --rate 100 --seconds 4 --alone 1.5
    --quiet 0.3 --timeout 1 --sanitized)

# Kills and a full disk meet more than one thread of ingest.
if(PYTHON3)
    set_tests_properties(crash.kill crash.disk_full PROPERTIES
        ENVIRONMENT MANIFOLD_TEST_THREADS=2)
endif()

add_test(NAME crash.chaos
    COMMAND manifold chaos --minutes 0.2 --seed 4 --rate 200)
set_tests_properties(crash.chaos PROPERTIES
    LABELS crash TIMEOUT 180
    ENVIRONMENT "ASAN_OPTIONS=abort_on_error=1:verify_asan_link_order=0")
