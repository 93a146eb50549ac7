package org.lethe.kernels;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;

/** Device memory was taken, for Flight Recorder; the stack says by whom. */
@Name("org.lethe.DeviceAllocation")
@Label("Device Allocation")
@Category("Lethe")
@Description("Memory of a device, by the name that memory tables show")
final class DeviceAllocation extends Event {
  @Label("Tensor")
  String tensor = "";

  @Label("Size")
  @DataAmount
  long bytes;

  static void record(String tensor, long bytes) {
    var event = new DeviceAllocation();
    if (event.shouldCommit()) {
      event.tensor = tensor;
      event.bytes = bytes;
      event.commit();
    }
  }
}
