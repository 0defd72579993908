// Reads frames from the camera.

// Messages for errors of getUserMedia, by their names.
const MESSAGES = {
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

  /** Starts the camera. Throws an Error with a message for the user. */
  static async open() {
    if (!navigator.mediaDevices) {
      throw new Error("This browser does not let pages use a camera.");
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
      const message = MESSAGES[error.name];
      throw new Error(
        message
          ? `${message}, then choose Camera again.`
          : `The camera does not start: ${error.message}`,
      );
    }
  }

  /** Calls `callback` when the camera is unplugged or used by another program. */
  onEnd(callback) {
    for (const track of this.#stream.getTracks()) track.addEventListener("ended", callback);
  }

  /** Waits for a new frame. Returns an image source for a canvas, and its size in pixels. */
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
