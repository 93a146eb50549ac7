# Fails where a tier's objects hold a weak symbol: the linker could take that copy, with its instructions, for all of the library.
execute_process(COMMAND ${NM} --demangle ${OBJECTS} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]*" weak "${symbols}")
if(weak)
  string(REPLACE ";" "\n  " weak "${weak}")
  message(FATAL_ERROR "weak symbols in a tier (put them into an anonymous namespace):\n  ${weak}")
endif()
