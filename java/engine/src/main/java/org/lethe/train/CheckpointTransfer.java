package org.lethe.train;

import java.nio.file.Path;
import java.util.Map;
import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import org.lethe.kernels.Tensor;

/** A checkpoint went to disk or came back, for Flight Recorder. */
@Name("org.lethe.Checkpoint")
@Label("Checkpoint")
@Category("Lethe")
@Description("A checkpoint written and synced, or read back")
@StackTrace(false)
final class CheckpointTransfer extends Event {
  @Label("Folder")
  String folder = "";

  @Label("Kind")
  @Description("written or read")
  String kind = "";

  @Label("Size")
  @DataAmount
  long bytes;

  /** Ends it. */
  void commit(String how, Path checkpoint, Map<String, Tensor> tensors) {
    end();
    if (shouldCommit()) {
      kind = how;
      folder = checkpoint.toString();
      bytes = tensors.values().stream().mapToLong(Tensor::bytes).sum();
      commit();
    }
  }
}
