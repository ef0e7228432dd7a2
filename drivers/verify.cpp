// Re-executes evidence that someone else made, and says whether it can be what it claims.
#include <fpf/verify/program.hpp>

#include "compiled.hpp"

int main(int argc, char** argv) { return fpf::verify_main(argc, argv); }
