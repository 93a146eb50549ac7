// cublaslt_test file FILE | search NAME TOOLKITS: prints the library taken and its version, or why none was.
#include "cublaslt.h"

#include <cstdio>
#include <cstring>

#include "failure.h"

int main(int count, char **arguments) {
  const bool file = count == 3 && std::strcmp(arguments[1], "file") == 0;
  if (!file && (count != 4 || std::strcmp(arguments[1], "search") != 0)) return 2;
  try {
    const lethe::gpu::CublasLt cublas =
        file ? lethe::gpu::load_cublaslt(arguments[2]) : lethe::gpu::search_cublaslt(arguments[2], arguments[3]);
    std::printf("taken: %s, version %s\n", cublas.file.c_str(), cublas.version().c_str());
    return 0;
  } catch (const lethe::Failure &failure) {
    std::printf("status %d: %s\n", failure.status, lethe::latest_message());
    return 1;
  }
}
