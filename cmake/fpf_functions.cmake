# What CMakeLists.txt files of this project call.
include(GNUInstallDirs)

# fpf_add_library(<name> FOLDERS <folder>... [FILES <header>...] [LINK <target>...])
# An interface target fpf_<name> (fpf for "fpf"), alias fpf::<name>, with the headers of include/fpf/<folder>
# in a file set; each of them is verified to compile alone (target verify_headers).
function(fpf_add_library name)
  cmake_parse_arguments(ARG "" "" "FOLDERS;FILES;LINK" ${ARGN})
  set(target fpf_${name})
  if(name STREQUAL "fpf")
    set(target fpf)
  endif()
  set(headers)
  foreach(folder IN LISTS ARG_FOLDERS)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/fpf/${folder}/*.hpp)
    list(APPEND headers ${found})
  endforeach()
  foreach(file IN LISTS ARG_FILES)
    list(APPEND headers ${PROJECT_SOURCE_DIR}/include/fpf/${file})
  endforeach()
  add_library(${target} INTERFACE)
  add_library(fpf::${name} ALIAS ${target})
  target_sources(${target} INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${headers})
  target_compile_features(${target} INTERFACE cxx_std_20)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(${target} INTERFACE ${ARG_LINK})
  set_property(GLOBAL APPEND PROPERTY fpf_libraries ${target})
endfunction()

# fpf_add_header_verification(): the target verify_headers. verify_headers.py says how; it learns here what to verify.
function(fpf_add_header_verification)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(folder ${PROJECT_BINARY_DIR}/verify_headers)
  get_property(libraries GLOBAL PROPERTY fpf_libraries)
  foreach(library IN LISTS libraries)
    foreach(what IN ITEMS COMPILE_DEFINITIONS INCLUDE_DIRECTORIES)
      set(${what} "$<JOIN:$<REMOVE_DUPLICATES:$<TARGET_PROPERTY:${library},INTERFACE_${what}>>,\",\">")
    endforeach()
    file(GENERATE OUTPUT ${folder}/${library}.json CONTENT
"{\"compiler\": \"${CMAKE_CXX_COMPILER}\", \"vendor\": \"${CMAKE_CXX_COMPILER_ID}\",
 \"definitions\": [\"${COMPILE_DEFINITIONS}\"],
 \"folders\": [\"${INCLUDE_DIRECTORIES}\"],
 \"headers\": [\"$<JOIN:$<TARGET_PROPERTY:${library},HEADER_SET>,\",\">\"]}
")
  endforeach()
  add_custom_target(verify_headers COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/cmake/verify_headers.py ${folder}
                    USES_TERMINAL VERBATIM)
endfunction()

# How this project compiles what it builds, never what its users build: warnings are errors; fmt and nlohmann/json are
# libraries (fpf_add_shared_targets).
function(fpf_own target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)  # GCC bug 105651: "literal" + std::string is no overlap
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # by default GCC looks for garbage from 128 MB on, a tenth of its time
    target_compile_options(${target} PRIVATE "SHELL:--param ggc-min-heapsize=1048576")
  endif()
  target_compile_options(${target} PRIVATE -UFMT_HEADER_ONLY)
  target_link_libraries(${target} PRIVATE fpf_fmt fpf_fmt_of_libtorch fpf_json)
endfunction()

# fpf_finish(<target> [<library>...]): fpf_own() for an optimised program or library, behind a precompiled header where its
# libraries bring tensors. fpf_finish_quick() for what is compiled more often than it computes: tests, and programs whose
# heavy work is another's (a session's, another program's).
function(fpf_finish target)
  fpf_own(${target})
  fpf_precompile(${target} fpf_pch ${ARGN})
endfunction()
function(fpf_finish_quick target)
  fpf_own(${target})
  target_compile_options(${target} PRIVATE ${FPF_QUICK_OPTIONS})
  fpf_precompile(${target} fpf_quick_pch ${ARGN})
endfunction()
function(fpf_precompile target header)
  if("fpf::fpf" IN_LIST ARGN OR "fpf_session" IN_LIST ARGN OR "fpf_runner" IN_LIST ARGN)
    target_precompile_headers(${target} REUSE_FROM ${header})
  else()  # behind a precompiled header for what sees no tensors GCC 12 warns falsely
    target_compile_options(${target} PRIVATE "SHELL:-include ${PROJECT_SOURCE_DIR}/cmake/compiled_json.hpp")
  endif()
endfunction()

# What the project's own files share:
#   fpf_fmt, fpf_fmt_of_libtorch, fpf_json  fmt (the system's, and that which libtorch brings) and nlohmann/json's parsers
#   fpf_pch, fpf_quick_pch                  a precompiled header for everything that sees libtorch's tensors: two, because its
#                                           optimisation is that of all functions behind it, whatever their file is given
function(fpf_add_shared_targets)
  add_library(fpf_fmt STATIC ${PROJECT_SOURCE_DIR}/cmake/compiled_fmt.cpp)
  add_library(fpf_fmt_of_libtorch STATIC ${PROJECT_SOURCE_DIR}/cmake/compiled_fmt.cpp)
  target_include_directories(fpf_fmt_of_libtorch SYSTEM PRIVATE
                             $<TARGET_PROPERTY:Libtorch::Libtorch,INTERFACE_INCLUDE_DIRECTORIES>)
  add_library(fpf_json STATIC ${PROJECT_SOURCE_DIR}/cmake/compiled_json.cpp)
  target_link_libraries(fpf_json PRIVATE nlohmann_json::nlohmann_json)
  set_target_properties(fpf_fmt fpf_fmt_of_libtorch fpf_json PROPERTIES POSITION_INDEPENDENT_CODE ON)
  fpf_add_precompiled_header(fpf_pch)
  fpf_add_precompiled_header(fpf_quick_pch)
  target_compile_options(fpf_quick_pch PRIVATE ${FPF_QUICK_OPTIONS})
endfunction()
function(fpf_add_precompiled_header name)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${name}.cpp CONTENT "int main() { return 0; }\n")
  add_executable(${name} ${PROJECT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE fpf::fpf)
  target_precompile_headers(${name} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.hpp)
  fpf_own(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
endfunction()
set(FPF_QUICK_OPTIONS -O1)  # two thirds of the time to compile; numerics stay as the programs have them

# fpf_add_driver(<name> [QUICK] LIBS <target>...): build/bin/<name> from <name>.cpp. QUICK: fpf_finish_quick().
function(fpf_add_driver name)
  cmake_parse_arguments(ARG "QUICK" "" "LIBS" ${ARGN})
  add_executable(${name} ${name}.cpp)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} fpf_revision)
  if(ARG_QUICK)
    fpf_finish_quick(${name} ${ARG_LIBS})
  else()
    fpf_finish(${name} ${ARG_LIBS})
  endif()
  fpf_find_libtorch_from(${name})
  if(FPF_INSTALL)
    install(TARGETS ${name} RUNTIME COMPONENT drivers)
  endif()
endfunction()

# Where a program looks for libtorch: beside itself as the component libtorch is installed; where build/torch is, wherever
# build/ is moved; at last where libtorch was when it was built. CMake's own CMAKE_BUILD_RPATH_USE_ORIGIN knows nothing
# outside the build folder, and where a built program's path is not the installed one's, CMake fills the shorter with
# colons, each of which means the current folder.
function(fpf_find_libtorch_from name)
  set(path "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/fpf/torch/lib")
  cmake_path(IS_PREFIX PROJECT_SOURCE_DIR ${Libtorch_HOME} NORMALIZE inside)
  if(inside AND CMAKE_RUNTIME_OUTPUT_DIRECTORY)
    cmake_path(RELATIVE_PATH Libtorch_HOME BASE_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} OUTPUT_VARIABLE beside)
    list(APPEND path "$ORIGIN/${beside}/lib")
  endif()
  set_target_properties(${name} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "${path};${Libtorch_HOME}/lib")
endfunction()

# fpf_add_tests(<program> [WAITS] LIBS <target>... TESTS <folder/name>... [TIMEOUT <s>]): tests/<folder/name>.cpp each hold the
# Boost.Test suite test_<name>, which CTest runs by itself as <name>. A program is one translation unit (unity build): most
# of a test's time to compile is the same templates of nlohmann/json, fmt and fpf again, and suites are namespaces, so names
# do not collide. Tests may include what is in tests/support and beside them, read fixtures (those of several folders are in
# FPF_FIXTURES, those of one in FPF_SOURCE "/tests/<folder>/fixtures"), and write below the current directory, which is each
# one's own. WAITS: for other programs, which compute, so it is not optimised.
function(fpf_add_tests program)
  cmake_parse_arguments(ARG "WAITS" "TIMEOUT" "LIBS;TESTS" ${ARGN})
  set(target test_${program})
  list(TRANSFORM ARG_TESTS APPEND .cpp OUTPUT_VARIABLE sources)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ${ARG_LIBS} fpf_test_main)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  add_dependencies(${target} fpf_warm_start)
  target_compile_definitions(${target} PRIVATE FPF_FIXTURES="${PROJECT_SOURCE_DIR}/tests/fixtures"
                             FPF_BIN="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}" FPF_WARM_START="$<TARGET_FILE:fpf_warm_start>"
                             FPF_SOURCE="${PROJECT_SOURCE_DIR}" FPF_BUILD="${PROJECT_SOURCE_DIR}/build")
  fpf_finish_quick(${target} ${ARG_LIBS})
  if(ARG_WAITS)
    target_compile_options(${target} PRIVATE -O0)  # a third less to compile
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0
                        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  foreach(file IN LISTS ARG_TESTS)
    cmake_path(GET file FILENAME test)
    set(scratch ${CMAKE_CURRENT_BINARY_DIR}/scratch/${test})
    file(MAKE_DIRECTORY ${scratch})
    add_test(NAME ${test} COMMAND ${target} --run_test=test_${test} WORKING_DIRECTORY ${scratch})
    # Threads that wait sleep: where other work shares the cores, spinning ones cost a test six times its time.
    set(environment OMP_WAIT_POLICY=PASSIVE)
    if(NOT test MATCHES on_gpu)
      list(APPEND environment CUDA_VISIBLE_DEVICES=)  # programs choose the CPU, as where there is no GPU
    endif()
    set_tests_properties(${test} PROPERTIES TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${environment}")
  endforeach()
endfunction()
