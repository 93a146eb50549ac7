package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.lethe.format.Checkpoint;
import org.lethe.kernels.Device;
import org.lethe.text.Tokenizer;
import org.lethe.unlearn.AnchorDictionary;
import org.lethe.unlearn.BlockView;
import org.lethe.unlearn.Labelling;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe label}. */
@Command(
    name = "label",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Makes the generic labels of a text: what a model that never read it would say instead.",
      "JSON lines: {\"input_ids\": [...], \"labels\": [...], \"labels_0.5\": [...], \"labels_2\": [...]};",
      "labels[i] is the target predicted from position i - 1, -100 where there is none."
    },
    footer = {
      "",
      "Example:",
      "  lethe label --model llama-2-7b --reinforced reinforced --text book.txt \\",
      "              --anchors anchors.json --out labels.jsonl --show 2"
    })
final class LabelCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "the baseline: a Hugging Face directory or a .gguf file")
  Path model;

  @Option(
      names = "--reinforced",
      required = true,
      paramLabel = "DIR",
      description = "what lethe reinforce made of it")
  Path reinforced;

  @Option(
      names = "--text",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description = "UTF-8 files, in order")
  List<Path> texts;

  @Option(
      names = "--anchors",
      required = true,
      paramLabel = "FILE",
      description = "the dictionary of the text's expressions, see lethe anchors")
  Path anchors;

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "the label file")
  Path out;

  @Option(
      names = "--alpha",
      defaultValue = "5",
      description =
          "how strongly what the reinforced model prefers is pushed away (default ${DEFAULT-VALUE})")
  double alpha;

  @Mixin CuttingOption blocks = new CuttingOption();

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "of the draws of stand-ins (default ${DEFAULT-VALUE})")
  long seed;

  @Option(
      names = "--show",
      paramLabel = "N",
      defaultValue = "0",
      description = "print the first N blocks: text, translation, labels under each other")
  int show;

  @Mixin TypeOption type = new TypeOption();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  LabelCommand() {}

  @Override
  public Integer call() throws IOException {
    Interrupts.install();
    var writer = spec.commandLine().getOut();
    var options =
        Usage.checked(
            spec, () -> new Labelling.Options(alpha, blocks.cutting(), seed, type.dtype()));
    AnchorDictionary dictionary = AnchorDictionary.read(anchors);
    Checkpoint.open(model).close(); // before its tokenizer: this tells best what is no model
    boolean finished;
    try (Device opened = device.open();
        Tokenizer tokenizer = Tokenizer.open(model);
        Progress progress = new Progress()) {
      finished =
          Labelling.run(
              opened,
              model,
              reinforced,
              texts,
              dictionary,
              out,
              options,
              (done, blocks, tokens, translation, labels) -> {
                progress.labelled(done, blocks, tokens, translation, labels);
                if (done <= show) {
                  writer.println(
                      BlockView.render(
                          tokens,
                          translation,
                          labels[0],
                          token -> tokenizer.decode(new int[] {token}, false),
                          100));
                }
              },
              Interrupts::asked);
    }
    dictionary
        .pruned()
        .forEach(
            p ->
                writer.println("not used: '" + p.anchor().expression() + "', since " + p.reason()));
    writer.println(finished ? "wrote " + out : "stopped; the same command goes on from there");
    return finished ? 0 : Main.INTERRUPTED;
  }
}
