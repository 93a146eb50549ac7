package org.lethe.text;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A tokenizer or a text that cannot be used: missing, malformed, of a kind that is not read. The
 * message is one line that begins with the file.
 */
public final class TextException extends RuntimeException {
  TextException(Object file, String problem) {
    this(file, problem, null);
  }

  TextException(Object file, String problem, @Nullable Throwable cause) {
    super((file + ": " + problem).lines().findFirst().orElseThrow(), cause);
  }

  /** What the file system said about {@code file}, in words. */
  static TextException of(Path file, IOException e) {
    return new TextException(
        file,
        switch (e) {
          case NoSuchFileException _ -> "does not exist";
          case AccessDeniedException _ -> "permission denied";
          case FileSystemException f when f.getReason() != null -> f.getReason();
          default -> String.valueOf(e.getMessage());
        },
        e);
  }
}
