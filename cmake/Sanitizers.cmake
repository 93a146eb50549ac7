# -DLETHE_SANITIZE=ON: address and undefined-behaviour sanitizers, for `lethe test --long`.
option(LETHE_SANITIZE "build with address and undefined-behaviour sanitizers" OFF)
if(LETHE_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=address,undefined)
endif()
