package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The Java border against the header: a parameter too few would be a crash far away. */
@Tag("kernels")
class HeaderTest {
  /** Streams and events have no caller yet; the version is checked on loading. */
  private static final Set<String> UNBOUND =
      Set.of(
          "abi_version",
          "stream_create",
          "stream_destroy",
          "event_create",
          "event_destroy",
          "event_record",
          "event_milliseconds");

  @Test
  void kernelsBindsEveryFunctionWithTheTypesOfItsPrototype() throws IllegalAccessException {
    var prototypes = Header.prototypes();
    assertTrue(prototypes.size() > 40, "found only " + prototypes.keySet());
    var bound = new TreeSet<String>(UNBOUND);
    try (Device device = TestedDevices.openAny()) {
      for (Field field : Kernels.class.getDeclaredFields()) {
        if (field.getType() == MethodHandle.class) {
          field.setAccessible(true);
          String function = snakeCase(field.getName().replaceFirst("Handle$", ""));
          bound.add(function);
          if (!function.equals("message")) {
            List<Header.Parameter> parameters = prototypes.get(function);
            assertTrue(parameters != null, "lethe.h has no lethe_" + function);
            List<Class<?>> carriers =
                parameters.stream()
                    .<Class<?>>map(Header.Parameter::carrier)
                    .collect(Collectors.toList());
            assertEquals(
                MethodType.methodType(int.class, carriers),
                ((MethodHandle) field.get(device.kernels())).type(),
                "lethe_" + function + parameters);
          }
        }
      }
    }
    assertEquals(new TreeSet<>(prototypes.keySet()), bound);
  }

  private static String snakeCase(String camelCase) {
    return camelCase.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }
}
