# The portable execution on aarch64: elsewhere.cpp, compiled for it and run by an emulator, once on a CPU without dotprod and
# once on one that has it. What cmake/setup.sh --tests brings and is missing fails the tests.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  return()  # where the other tests are what runs there
endif()
find_program(FPF_AARCH64_COMPILER aarch64-linux-gnu-g++)
find_program(FPF_AARCH64_EMULATOR NAMES qemu-aarch64 qemu-aarch64-static)
set(root ${PROJECT_SOURCE_DIR}/build/aarch64)
if(NOT FPF_AARCH64_COMPILER OR NOT FPF_AARCH64_EMULATOR OR NOT EXISTS ${root}/installed)
  foreach(set IN ITEMS neon neon_dotprod)
    add_test(NAME portable_${set} COMMAND sh -c "echo 'no compiler, emulator or libtorch for aarch64: \
cmake/setup.sh --tests installs them; then configure again'; exit 1")
  endforeach()
  return()
endif()

set(torch ${root}/torch)
set(usr ${root}/usr/lib/aarch64-linux-gnu)
set(program ${CMAKE_CURRENT_BINARY_DIR}/test_elsewhere)
add_custom_command(
  OUTPUT ${program}.o
  COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${FPF_AARCH64_COMPILER} -std=c++20 -O2 -DNDEBUG -DFMT_HEADER_ONLY=1
          -DAT_PER_OPERATOR_HEADERS --param ggc-min-heapsize=1048576 -Wno-psabi
          -I${PROJECT_SOURCE_DIR}/include -I${PROJECT_BINARY_DIR}/include
          -isystem ${torch}/include -isystem ${torch}/include/torch/csrc/api/include
          -isystem ${root}/usr/include -isystem ${root}/usr/include/aarch64-linux-gnu
          -MD -MF ${program}.d -c ${CMAKE_CURRENT_LIST_DIR}/elsewhere.cpp -o ${program}.o
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/elsewhere.cpp ${root}/installed
  DEPFILE ${program}.d
  VERBATIM)
add_custom_command(
  OUTPUT ${program}
  COMMAND ${FPF_AARCH64_COMPILER} ${program}.o -L${torch}/lib -ltorch_cpu -lc10 ${usr}/libcrypto.so
          -Wl,--allow-shlib-undefined -o ${program}  # what libtorch needs is beside it
  DEPENDS ${program}.o
  VERBATIM)
add_custom_target(elsewhere ALL DEPENDS ${program})

# Where the compiler's libraries are, the loader among them.
execute_process(COMMAND ${FPF_AARCH64_COMPILER} -print-file-name=ld-linux-aarch64.so.1
                OUTPUT_VARIABLE loader OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
file(REAL_PATH ${loader} loader)
cmake_path(GET loader PARENT_PATH system)
cmake_path(GET system PARENT_PATH system)
# fpf_run_elsewhere(<instruction set> <CPU whose best it is> <part of models' names>...)
function(fpf_run_elsewhere set cpu)
  add_test(NAME portable_${set}
           COMMAND ${FPF_AARCH64_EMULATOR} -cpu ${cpu} -L ${system} -E OMP_NUM_THREADS=1
                   -E LD_LIBRARY_PATH=${torch}/lib:${usr}:${root}/lib/aarch64-linux-gnu
                   ${program} ${CMAKE_CURRENT_SOURCE_DIR}/fixtures ${set} ${ARGN})
  set_tests_properties(portable_${set} PROPERTIES TIMEOUT 900 COST 100)
endfunction()
# One architecture in every format, and the smallest models of all architectures.
fpf_run_elsewhere(neon cortex-a57 qwen3-moe-tiny parity/)
fpf_run_elsewhere(neon_dotprod cortex-a76 qwen2-tiny parity/)
