# The reader under libFuzzer, where clang is found: half a minute in the tests, as long as one likes by hand.
find_program(FPF_FUZZ_COMPILER NAMES clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14)
if(FPF_FUZZ_COMPILER AND NOT DEFINED FPF_FUZZ_WORKS)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/fuzz_probe.cpp
       "extern \"C\" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n")
  execute_process(COMMAND ${FPF_FUZZ_COMPILER} -fsanitize=fuzzer,address,undefined fuzz_probe.cpp -o fuzz_probe
                  WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(failed)
    set(FPF_FUZZ_WORKS FALSE CACHE INTERNAL "")
  else()
    set(FPF_FUZZ_WORKS TRUE CACHE INTERNAL "")
  endif()
endif()
if(NOT FPF_FUZZ_COMPILER OR NOT FPF_FUZZ_WORKS)
  message(STATUS "No clang with libFuzzer: the reader is not fuzzed")
  return()
endif()

get_target_property(eigen Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
set(fuzzer ${CMAKE_CURRENT_BINARY_DIR}/fuzz_reader)
add_custom_command(
  OUTPUT ${fuzzer}
  COMMAND ${FPF_FUZZ_COMPILER} -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
          -DFMT_HEADER_ONLY=1 -I${PROJECT_SOURCE_DIR}/include -isystem ${eigen}
          ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_reader.cpp -MD -MF ${fuzzer}.d -o ${fuzzer} -lsimdjson
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_reader.cpp
  DEPFILE ${fuzzer}.d
  VERBATIM)
add_custom_target(fuzz_reader_program ALL DEPENDS ${fuzzer})

set(scratch ${CMAKE_CURRENT_BINARY_DIR}/scratch/fuzz_reader)
file(MAKE_DIRECTORY ${scratch}/corpus)
add_test(NAME fuzz_reader
         COMMAND ${fuzzer} -max_total_time=30 -timeout=10 -max_len=8192 -dict=${CMAKE_CURRENT_SOURCE_DIR}/fixtures/fuzz.dict
                 corpus ${CMAKE_CURRENT_SOURCE_DIR}/fixtures/fuzz
         WORKING_DIRECTORY ${scratch})
set_tests_properties(fuzz_reader PROPERTIES TIMEOUT 180 ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
