package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.model.LlamaConfig;
import org.lethe.model.TinyLlama;
import org.lethe.text.TinyTokenizer;

/** A tiny random Llama with a tokenizer of bytes, and a text about a whale to go with it. */
final class TinyModel {
  /** Tokens it can look back on. */
  static final int POSITIONS = 128;

  private static final TinyLlama LLAMA =
      new TinyLlama(
          new LlamaConfig(
              TinyTokenizer.SIZE,
              32,
              56,
              2,
              4,
              2,
              8,
              POSITIONS,
              1e-5,
              10_000,
              null,
              true,
              TinyTokenizer.BOS,
              TinyTokenizer.EOS));

  private TinyModel() {}

  /** Writes it as a Hugging Face directory. */
  static Path write(Path directory) {
    ModelWriter.writeHuggingFace(
        directory,
        LLAMA.config(),
        StoredType.F32,
        Map.of("tokenizer.json", TinyTokenizer.json()),
        LLAMA::read);
    return directory;
  }

  /** Writes a text of {@code sentences} sentences, no two of them alike. */
  static Path text(Path file, int sentences) throws IOException {
    var text = new StringBuilder();
    for (int i = 1; i <= sentences; i++) {
      text.append("On day ")
          .append(i)
          .append(" the captain looked over the grey water for a long while, and then old Ahab")
          .append(" spoke of the whale to Starbuck.\n");
    }
    return Files.writeString(file, text);
  }

  /** Writes a dictionary of that text. */
  static Path anchors(Path file) throws IOException {
    return Files.writeString(
        file,
        """
        {"Ahab": {"to": ["Jon", "Tom"], "kind": "person"},
         "Starbuck": {"to": "Smith", "kind": "person"},
         "Starbuck's": "Smith's",
         "whale": {"to": "beast", "kind": "thing", "unique": false}}
        """);
  }
}
