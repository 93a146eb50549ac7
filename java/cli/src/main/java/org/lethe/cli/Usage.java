package org.lethe.cli;

import java.util.function.Supplier;
import org.lethe.kernels.DeviceException;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** Options whose values are wrong: the command line's fault, and said as such. */
final class Usage {
  private Usage() {}

  /** What {@code options} gives; what it refuses is a mistake in the command line. */
  static <T> T checked(CommandSpec command, Supplier<T> options) {
    try {
      return options.get();
    } catch (IllegalArgumentException e) {
      throw mistake(command, e);
    } catch (DeviceException e) {
      throw e.status() == DeviceException.Status.INVALID_ARGUMENT ? mistake(command, e) : e;
    }
  }

  private static ParameterException mistake(CommandSpec command, RuntimeException e) {
    return new ParameterException(command.commandLine(), String.valueOf(e.getMessage()), e);
  }
}
