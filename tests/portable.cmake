# execution::Portable's tests. The emulation runs the kernels' own text on the CPU (emulation/emulate.cmake).
fpf_add_tests(portable LIBS fpf_reference TESTS portable portable_accuracy portable_digests portable_ranks TIMEOUT 900)
fpf_add_tests(portable_kernels LIBS fpf::kernel TESTS portable_kernels TIMEOUT 900)
include(emulation/emulate.cmake)
fpf_add_tests(portable_emulation LIBS fpf::fpf TESTS portable_emulation)
target_include_directories(test_portable_emulation SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
