package org.lethe.cli;

import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Checkpoint;
import org.lethe.format.ModelWriter;
import org.lethe.format.RoundedShare;
import org.lethe.format.StoredType;
import org.lethe.text.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code lethe export}. */
@Command(
    name = "export",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Writes a model for others: a Hugging Face directory (f32, bf16, f16) that transformers loads,",
      "or a GGUF file (f32, f16, bf16, q8_0) that llama.cpp loads.",
      "With --baseline it says how much of the change the rounding kept: measure the published file."
    },
    footer = {
      "",
      "Example:",
      "  lethe export --model run/unlearned --to gguf --dtype q8_0 --out unlearned.gguf --baseline llama-2-7b"
    })
final class ExportCommand implements Callable<Integer> {
  enum Target {
    safetensors,
    gguf
  }

  enum Type {
    f32(StoredType.F32),
    bf16(StoredType.BF16),
    f16(StoredType.F16),
    q8_0(StoredType.Q8_0);

    private final StoredType stored;

    Type(StoredType stored) {
      this.stored = stored;
    }
  }

  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "a Hugging Face directory or a .gguf file")
  Path model;

  @Option(
      names = "--to",
      required = true,
      paramLabel = "FORMAT",
      description = "${COMPLETION-CANDIDATES}")
  Target to;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "bf16",
      description = "${COMPLETION-CANDIDATES} (default ${DEFAULT-VALUE})")
  Type type;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "PATH",
      description = "a new folder, or a new file")
  Path out;

  @Option(
      names = "--baseline",
      paramLabel = "M",
      description =
          "the model before training: says the share of weights whose rounded value still differs")
  @Nullable Path baseline;

  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  ExportCommand() {}

  @Override
  public Integer call() {
    if (to == Target.safetensors && type == Type.q8_0) {
      throw new ParameterException(
          spec.commandLine(), "safetensors holds f32, bf16 or f16; q8_0 goes into a GGUF file");
    }
    var writer = spec.commandLine().getOut();
    if (baseline != null) {
      Checkpoint.open(baseline).close(); // what cannot be read is said before anything is written
    }
    try (Checkpoint checkpoint = Checkpoint.open(model);
        Tokenizer tokenizer = Tokenizer.open(model)) {
      switch (to) {
        case safetensors ->
            ModelWriter.writeHuggingFace(
                out,
                checkpoint.config(),
                type.stored,
                Map.of(
                    "tokenizer.json",
                    tokenizer.json(),
                    "tokenizer_config.json",
                    tokenizer.configJson(checkpoint.config())),
                checkpoint);
        case gguf ->
            ModelWriter.writeGguf(
                out,
                checkpoint.config(),
                type.stored,
                tokenizer.gguf(checkpoint.config()),
                checkpoint);
      }
      writer.println("wrote " + out);
    }
    if (baseline != null) {
      try (Checkpoint before = Checkpoint.open(baseline);
          Checkpoint exact = Checkpoint.open(model);
          Checkpoint published = Checkpoint.open(out)) {
        RoundedShare share = RoundedShare.of(before, exact, published);
        writer.printf(
            "%.2f%% of the weights differ from the baseline's; rounded to %s, %.2f%% still do%n",
            100 * share.changed(), type, 100 * share.kept());
      }
    }
    return 0;
  }
}
