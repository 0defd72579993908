// The camera's frames.

const REFUSALS = {
  NotAllowedError: "The camera is blocked. Allow it for this page, by the icon beside the address",
  NotFoundError: "No camera was found. Connect one",
  NotReadableError: "Another program is using the camera. Close it",
};

export class Camera {
  #video = document.createElement("video");
  #stream;

  constructor(stream) {
    this.#stream = stream;
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#video.srcObject = stream;
  }

  /** Starts the camera. Errors have a message for the user. */
  static async open() {
    if (!navigator.mediaDevices) {
      throw new Error("This browser gives pages no camera.");
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } },
      });
      const camera = new Camera(stream);
      await camera.#video.play().catch((error) => {
        camera.close();
        throw error;
      });
      return camera;
    } catch (error) {
      const refusal = REFUSALS[error.name];
      throw new Error(
        refusal
          ? `${refusal}, then choose Camera again.`
          : `The camera does not start: ${error.message}`,
      );
    }
  }

  /** Calls back when the camera is unplugged or taken away. */
  onEnd(callback) {
    for (const track of this.#stream.getTracks()) track.addEventListener("ended", callback);
  }

  /** Waits for a new frame and returns it as a canvas source, with its size. */
  async frame() {
    await new Promise((resolve) => {
      const video = this.#video;
      if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
    return { source: this.#video, width: this.#video.videoWidth, height: this.#video.videoHeight };
  }

  close() {
    for (const track of this.#stream.getTracks()) track.stop();
  }
}
