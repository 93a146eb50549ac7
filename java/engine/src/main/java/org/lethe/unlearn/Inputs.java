package org.lethe.unlearn;

import java.nio.file.Path;
import java.util.List;
import org.lethe.format.Checkpoint;
import org.lethe.model.LlamaConfig;
import org.lethe.text.TextBlocks;

/** What costs little to check is checked before anything is hashed, loaded or written. */
final class Inputs {
  private Inputs() {}

  /** Refuses a model that cannot be opened; its weights are not read. */
  static LlamaConfig model(Path model) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      return checkpoint.config();
    }
  }

  /** Refuses texts that cannot be read. */
  static void texts(List<Path> texts) {
    texts.forEach(TextBlocks::read);
  }
}
