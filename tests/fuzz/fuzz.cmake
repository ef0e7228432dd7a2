# The readers under libFuzzer, where clang is found: ten seconds each on each change, longer by tests/run.sh --full and as
# long as one likes by hand.
set(FPF_FUZZ_SECONDS 10 CACHE STRING "How long each reader is fuzzed in the tests")
math(EXPR timeout_of_fuzzers "3 * ${FPF_FUZZ_SECONDS} + 120")
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
# fpf_add_fuzzer(<name> <library>...): <name>.cpp with the sanitizers of clang.
function(fpf_add_fuzzer name)
  set(fuzzer ${CMAKE_CURRENT_BINARY_DIR}/${name})
  add_custom_command(
    OUTPUT ${fuzzer}
    COMMAND ${FPF_FUZZ_COMPILER} -std=c++20 -O1 -gline-tables-only -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
            -DFMT_HEADER_ONLY=1 -I${PROJECT_SOURCE_DIR}/include -isystem ${eigen}
            "$<LIST:TRANSFORM,${PopplerCpp_INCLUDE_DIRS},PREPEND,-isystem>"
            ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}.cpp -MD -MF ${fuzzer}.d -o ${fuzzer} ${ARGN}
    DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}.cpp
    DEPFILE ${fuzzer}.d
    COMMAND_EXPAND_LISTS
    VERBATIM)
  add_custom_target(${name}_program ALL DEPENDS ${fuzzer})
endfunction()

# fpf_fuzz(<test> <program> <seconds> SEEDS <file>... [ENVIRONMENT <name=value>...]): a test with a corpus of its own.
function(fpf_fuzz test program seconds)
  cmake_parse_arguments(ARG "" "" "SEEDS;ENVIRONMENT" ${ARGN})
  set(scratch ${CMAKE_CURRENT_BINARY_DIR}/scratch/${test})
  file(MAKE_DIRECTORY ${scratch}/corpus ${scratch}/seeds)
  foreach(seed IN LISTS ARG_SEEDS)
    string(MAKE_C_IDENTIFIER ${seed} name)
    file(COPY_FILE ${seed} ${scratch}/seeds/${name} ONLY_IF_DIFFERENT)
  endforeach()
  add_test(NAME ${test}
           COMMAND ${CMAKE_CURRENT_BINARY_DIR}/${program} -max_total_time=${seconds} -timeout=20 -max_len=16384
                   -dict=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/fuzz.dict corpus seeds
           WORKING_DIRECTORY ${scratch})
  set_tests_properties(${test} PROPERTIES TIMEOUT ${timeout_of_fuzzers} ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0;${ARG_ENVIRONMENT}")
endfunction()

set(fixtures ${CMAKE_CURRENT_SOURCE_DIR}/fixtures)
fpf_add_fuzzer(fuzz_inputs -lpoppler-cpp -lpcre2-8 -lutf8proc -lz -lcrypto -lboost_program_options)
set(seeds_of_config ${fixtures}/parity/qwen3_moe_raw/config.json ${fixtures}/quant/gptq_mixed_model/config.json
                    ${fixtures}/quant/nf4_model/config.json)
set(seeds_of_tokenizer ${fixtures}/tokens/small_flags/tokenizer.json ${fixtures}/tokens/small_whole/tokenizer.json)
set(seeds_of_safetensors ${fixtures}/weights/single/model.safetensors)
set(seeds_of_gguf ${fixtures}/weights/small.gguf)
set(seeds_of_pdf ${fixtures}/prompts/open.pdf ${fixtures}/prompts/locked.pdf)
foreach(reader IN ITEMS evidence prompt_ids config tokenizer chat_template safetensors gguf partial journal gzip pdf)
  file(GLOB seeds ${CMAKE_CURRENT_LIST_DIR}/seeds/${reader}/*)
  fpf_fuzz(fuzz_${reader} fuzz_inputs ${FPF_FUZZ_SECONDS} SEEDS ${seeds} ${seeds_of_${reader}}
           ENVIRONMENT FPF_FUZZ=${reader} FPF_FUZZ_TOKENIZER=${fixtures}/tokens/small_flags/tokenizer.json)
endforeach()
