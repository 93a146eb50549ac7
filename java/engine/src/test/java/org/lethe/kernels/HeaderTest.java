package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
  /**
   * Streams have no caller yet; the version is checked on loading, the message asked for by name.
   */
  private static final Set<String> UNBOUND =
      Set.of("abi_version", "message", "stream_create", "stream_destroy");

  @Test
  void kernelsBindsEveryFunctionWithTheTypesOfItsPrototype() throws IllegalAccessException {
    var prototypes = Header.prototypes();
    assertTrue(prototypes.size() > 40, "found only " + prototypes.keySet());
    var bound = new TreeSet<String>(UNBOUND);
    try (Device device = TestedDevices.openAny()) {
      for (Field field : Kernels.class.getDeclaredFields()) {
        if (field.getType() == Kernels.Bound.class) {
          field.setAccessible(true);
          String function = snakeCase(field.getName());
          bound.add(function);
          List<Header.Parameter> parameters = prototypes.get(function);
          assertTrue(parameters != null, "lethe.h has no lethe_" + function);
          List<Class<?>> carriers =
              parameters.stream()
                  .<Class<?>>map(Header.Parameter::carrier)
                  .collect(Collectors.toList());
          assertEquals(
              MethodType.methodType(int.class, carriers),
              ((Kernels.Bound) field.get(device.kernels())).handle().type(),
              "lethe_" + function + parameters);
        }
      }
    }
    assertEquals(new TreeSet<>(prototypes.keySet()), bound);
  }

  private static String snakeCase(String camelCase) {
    return camelCase.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }
}
