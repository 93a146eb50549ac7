package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.lethe.anchors.AnchorDraft;
import org.lethe.text.TextBlocks;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe anchors}. */
@Command(
    name = "anchors",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Drafts the dictionary of a text: its names and idiosyncratic expressions with generic",
      "stand-ins of the same kind, most frequent first, for a person to edit. \"unique\" marks what",
      "gives the text away; \"count\" and \"context\" help to judge and are not read back."
    },
    footer = {"", "Example:", "  lethe anchors --text book.txt --out anchors.json"})
final class AnchorsCommand implements Callable<Integer> {
  @Option(
      names = "--text",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description = "UTF-8 files, in order")
  List<Path> texts;

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "a new file")
  Path out;

  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  AnchorsCommand() {}

  @Override
  public Integer call() throws IOException {
    if (Files.exists(out)) {
      throw new IOException(out + " exists, perhaps with your edits: choose another file");
    }
    var text = new StringBuilder();
    for (Path file : texts) {
      text.append(TextBlocks.read(file)).append("\n");
    }
    List<AnchorDraft.Entry> entries = AnchorDraft.draft(text.toString());
    AnchorDraft.write(entries, out);
    spec.commandLine()
        .getOut()
        .printf(
            "wrote %s: %d expressions, %d of them unique; read it through before you use it%n",
            out, entries.size(), entries.stream().filter(AnchorDraft.Entry::unique).count());
    return 0;
  }
}
