# oneDNN as its JavaCPP jar carries it (org.bytedeco:dnnl, unpacked by Maven): headers, libdnnl.so.3 and the libgomp.so.1 that
# is then the one OpenMP runtime of the process. LETHE_ONEDNN names the folder.
find_path(OneDNN_INCLUDE dnnl.hpp HINTS ${LETHE_ONEDNN}/include NO_DEFAULT_PATH)
find_file(OneDNN_LIBRARY libdnnl.so.3 HINTS ${LETHE_ONEDNN} NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OneDNN REQUIRED_VARS OneDNN_LIBRARY OneDNN_INCLUDE
  REASON_FAILURE_MESSAGE "build through Maven (./lethe build), or pass -DLETHE_ONEDNN=<folder with libdnnl.so.3 and include/>")
if(OneDNN_FOUND AND NOT TARGET OneDNN::OneDNN)
  add_library(OneDNN::OneDNN SHARED IMPORTED)
  set_target_properties(OneDNN::OneDNN PROPERTIES IMPORTED_LOCATION ${OneDNN_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${OneDNN_INCLUDE})
endif()
