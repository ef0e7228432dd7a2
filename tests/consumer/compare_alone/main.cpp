// Reads an experiment file as another project would.
#include <fpf/evidence/reader.hpp>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::cout << fpf::evidence::open_experiment(argv[1]).runs.size() << " runs\n";
}
