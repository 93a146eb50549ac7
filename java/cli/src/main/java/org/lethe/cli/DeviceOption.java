package org.lethe.cli;

import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Device;
import picocli.CommandLine.Option;

/** {@code --device}, {@code --threads}, {@code --tier}: the same for all commands that compute. */
final class DeviceOption {
  @Option(
      names = "--device",
      paramLabel = "NAME",
      defaultValue = "cpu",
      description = "what computes: cpu (default ${DEFAULT-VALUE})")
  String device = "cpu";

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description = "threads that compute; 0 takes every core (default)")
  int threads;

  @Option(
      names = "--tier",
      paramLabel = "T",
      description =
          "highest instruction set to use: avx2, avx512, avx512_bf16 (default: the machine's best)")
  @Nullable String tier;

  Device open() {
    return Device.open(device, new Device.Options(threads, tier));
  }
}
