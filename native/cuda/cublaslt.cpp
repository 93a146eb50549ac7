// Finding cuBLASLt.
#include "cublaslt.h"

#include <dlfcn.h>
#include <glob.h>

#include <memory>
#include <vector>

#include "failure.h"

namespace lethe::gpu {
namespace {

constexpr size_t kOldest = 12, kNewest = 13;

struct Unload {
  void operator()(void *library) const { dlclose(library); }
};

// The folders that the pattern names, the last in the order of names first.
std::vector<std::string> folders(const char *pattern) {
  std::vector<std::string> found;
  glob_t matches = {};
  if (glob(pattern, GLOB_ONLYDIR, nullptr, &matches) == 0) {
    for (size_t i = matches.gl_pathc; i > 0; i--) found.emplace_back(matches.gl_pathv[i - 1]);
  }
  globfree(&matches);
  return found;
}

// Loads the library for good, or says in `why` why not.
bool load(const std::string &file, CublasLt &cublas, std::string &why) {
  std::unique_ptr<void, Unload> library(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (library == nullptr) {
    const char *error = dlerror();
    why = error != nullptr ? error : file + " cannot be loaded";
    return false;
  }
#define LETHE_FIND(name, result, parameters)                                                             \
  cublas.name = reinterpret_cast<decltype(cublas.name)>(dlsym(library.get(), "cublasLt" #name));         \
  if (cublas.name == nullptr) {                                                                          \
    why = file + " lacks the function cublasLt" #name;                                                   \
    return false;                                                                                        \
  }
  LETHE_CUBLASLT(LETHE_FIND)
#undef LETHE_FIND
  const size_t major = cublas.GetVersion() / 10000;
  if (major < kOldest || major > kNewest) {
    why = file + " is cuBLASLt " + cublas.version();
    return false;
  }
  Dl_info info;
  cublas.file = dladdr(reinterpret_cast<const void *>(cublas.GetVersion), &info) != 0 ? info.dli_fname : file;
  static_cast<void>(library.release());  // it stays loaded: it has threads and handles of its own
  return true;
}

}  // namespace

std::string CublasLt::version() const {
  const size_t version = GetVersion();
  return std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." + std::to_string(version % 100);
}

CublasLt load_cublaslt(const std::string &file) {
  if (file.empty()) return search_cublaslt("libcublasLt.so", "/usr/local/cuda*/lib64");
  CublasLt cublas;
  std::string why;
  if (load(file, cublas, why)) return cublas;
  raise(LETHE_UNSUPPORTED, "%s; matrix products need cuBLASLt of CUDA 12 or 13: name its libcublasLt.so (-Dlethe.cublas=FILE)",
        why.c_str());
}

CublasLt search_cublaslt(const std::string &name, const std::string &toolkits) {
  CublasLt cublas;
  std::string found;  // what is there, but cannot be used
  const auto loads = [&](const std::string &file) {
    std::string why;
    if (load(file, cublas, why)) return true;
    if (why.find("No such file") == std::string::npos) found += "; " + why;
    return false;
  };
  const std::vector<std::string> installed = folders(toolkits.c_str());
  for (size_t major = kNewest; major >= kOldest; major--) {
    const std::string versioned = name + "." + std::to_string(major);
    if (loads(versioned)) return cublas;
    for (const std::string &folder : installed) {
      if (loads(folder + "/" + versioned)) return cublas;
    }
  }
  raise(LETHE_UNSUPPORTED,
        "no cuBLASLt of CUDA 12 or 13 for matrix products: neither the system's loader nor %s has %s.13 or .12%s; install CUDA's "
        "cuBLAS, or name the file (-Dlethe.cublas=FILE)", toolkits.c_str(), name.c_str(), found.c_str());
}

}  // namespace lethe::gpu
