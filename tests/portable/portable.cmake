# execution::Portable's tests. The emulation runs the kernels' own text on the CPU (emulation/emulate.cmake).
fpf_add_tests(portable LIBS fpf_session
              TESTS portable/portable portable/portable_accuracy portable/portable_digests portable/portable_formats
                    portable/portable_ranks portable/portable_integers TIMEOUT 900)
fpf_add_tests(portable_kernels LIBS fpf::kernel TESTS portable/portable_kernels TIMEOUT 900)
include(emulation/emulate.cmake)
fpf_add_tests(portable_emulation LIBS fpf::fpf TESTS portable/portable_emulation)
fpf_add_tests(portable_pass LIBS fpf_session fake_cuda TESTS portable/portable_pass TIMEOUT 900)
foreach(test IN ITEMS portable_emulation portable_pass)
  target_include_directories(test_${test} SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
  target_compile_options(test_${test} PRIVATE -U_FORTIFY_SOURCE)  # fibers jump between stacks
endforeach()
set_target_properties(test_portable_pass PROPERTIES ENABLE_EXPORTS ON)  # kernels are found by their symbols

# Every loop of every instruction set beside the plain ones: those that this CPU has; all of x86's by emulated vectors; and
# aarch64's.
fpf_add_tests(portable_loops LIBS fpf::core TESTS portable/portable_loops)
fpf_add_tests(portable_emulated_loops LIBS fpf::core TESTS portable/portable_emulated_loops)
target_include_directories(test_portable_emulated_loops PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(test_portable_emulated_loops PRIVATE -Wno-psabi)  # vectors that the CPU may lack stay in this program
include(portable/elsewhere.cmake)
