package org.lethe.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Device;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code --device}, {@code --threads}, {@code --tier}: the same for all commands that compute. */
final class DeviceOption {
  @Option(
      names = "--device",
      paramLabel = "NAME",
      defaultValue = "cpu",
      description =
          "what computes: cpu; cuda, an NVIDIA GPU; simt, the GPU's kernels on an emulator, slow"
              + " (default ${DEFAULT-VALUE}; see 'lethe doctor')")
  String device = "cpu";

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description = "threads that compute, for cpu; 0 takes every core (default)")
  int threads;

  @Option(
      names = "--tier",
      paramLabel = "T",
      description =
          "highest instruction set to use, for cpu: avx2, avx512, avx512_bf16, avx512_amx (default:"
              + " the machine's best)")
  @Nullable String tier;

  @Spec(Spec.Target.MIXEE)
  CommandSpec command;

  @SuppressWarnings("NullAway.Init") // picocli fills the spec
  DeviceOption() {}

  /** Opens the device; a name, tier or number of threads that is none is a usage error. */
  Device open() {
    return open(null);
  }

  /** The same on a library of one's own, under the name it gives itself unless one is asked for. */
  Device open(@Nullable Path library) {
    boolean named =
        command.commandLine().getParseResult() == null
            || command.commandLine().getParseResult().hasMatchedOption("--device");
    String name = library == null || named ? device : Device.nameOf(library);
    return Usage.checked(
        command, () -> Device.open(name, new Device.Options(threads, tier, library)));
  }
}
