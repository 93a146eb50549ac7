package org.lethe.text;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Checkpoint;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
import org.lethe.model.ParameterSource;

/**
 * A model's files, opened and checked before there is a device to load them to. A small model's
 * tokenizer takes longer to read than its weights: a thread of its own reads it meanwhile.
 */
public final class ModelFiles implements AutoCloseable {
  private final Checkpoint checkpoint;
  private final CompletableFuture<Tokenizer> tokenizer;
  private boolean taken;
  private boolean mapped;

  private ModelFiles(Checkpoint checkpoint, CompletableFuture<Tokenizer> tokenizer) {
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
  }

  /**
   * Opens a Hugging Face directory or a {@code .gguf} file.
   *
   * @throws org.lethe.format.ModelFormatException if it cannot be read, or is no model that Lethe
   *     knows
   */
  @SuppressWarnings("MustBeClosedChecker") // closed with the files
  public static ModelFiles open(Path path) {
    CompletableFuture<Tokenizer> tokenizer =
        CompletableFuture.supplyAsync(
            () -> Tokenizer.open(path), task -> Thread.ofPlatform().daemon().start(task));
    try {
      return new ModelFiles(Checkpoint.open(path), tokenizer);
    } catch (RuntimeException | Error e) {
      var _ = tokenizer.thenAccept(Tokenizer::close);
      throw e;
    }
  }

  /**
   * Loads the model, once.
   *
   * @throws TextException if its tokenizer cannot be read
   * @throws org.lethe.kernels.OutOfDeviceMemoryException if it does not fit
   */
  public LanguageModel load(Device device, DType dtype) {
    return load(device, dtype, false);
  }

  LanguageModel load(Device device, DType dtype, boolean exact) {
    refuseTwice();
    LlamaConfig config = checkpoint.config();
    return model(LlamaWeights.load(device, config, new WhileGood(), dtype, exact), () -> {});
  }

  /**
   * Takes the weights where they lie in the files, as far as they lie there as they are computed
   * with ({@link LlamaWeights#map}, which says what must not happen to the files); once. The model
   * keeps the files open.
   *
   * @throws TextException if its tokenizer cannot be read
   * @throws org.lethe.kernels.OutOfDeviceMemoryException if what must be copied does not fit
   */
  public LanguageModel map(Device device, DType dtype) {
    refuseTwice();
    LlamaConfig config = checkpoint.config();
    LlamaWeights weights = LlamaWeights.map(device, config, new WhileGood(), dtype);
    LanguageModel model = model(weights, checkpoint::close);
    mapped = true;
    return model;
  }

  private void refuseTwice() {
    if (taken) {
      throw new IllegalStateException("loaded already");
    }
  }

  private LanguageModel model(LlamaWeights weights, Runnable atLast) {
    try {
      Tokenizer read = tokenizer();
      read.check(checkpoint.config());
      var model = new LanguageModel(weights, read, atLast);
      taken = true;
      return model;
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  private Tokenizer tokenizer() {
    try {
      return tokenizer.join();
    } catch (CompletionException e) {
      switch (e.getCause()) {
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default -> throw e;
      }
    }
  }

  /** Lets go of the files, but for those that a model lies in. */
  @Override
  public void close() {
    if (!mapped) {
      checkpoint.close();
    }
    if (!taken) {
      var _ = tokenizer.thenAccept(Tokenizer::close);
    }
  }

  /** The parameters, until the tokenizer proves broken: that is said at once. */
  private final class WhileGood implements ParameterSource {
    @Override
    public void read(String name, long first, MemorySegment f32) {
      check();
      checkpoint.read(name, first, f32);
    }

    @Override
    public @Nullable MemorySegment bf16(String name) {
      check();
      return checkpoint.bf16(name);
    }

    private void check() {
      if (tokenizer.isCompletedExceptionally()) {
        tokenizer();
      }
    }
  }
}
