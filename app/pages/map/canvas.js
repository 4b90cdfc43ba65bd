// @ts-check
// Drawing: WebGL 2 if available, else a plain canvas. Both get positions once, and colours at each change.

import { RANKS } from "./points.js";

/** @typedef {{ scaleX: number, scaleY: number, offsetX: number, offsetY: number }} Transform */

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
uniform vec4 view;  // scale x, scale y, offset x, offset y
uniform float size;
uniform float rank;
out vec3 tint;
void main() {
  bool shown = abs(colour.a - rank) < 0.25;
  gl_Position = shown ? vec4(place * view.xy + view.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
  tint = colour.rgb;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 tint;
uniform float size;
uniform float opacity;
out vec4 painted;
void main() {
  float edge = (0.5 - distance(gl_PointCoord, vec2(0.5))) * size;
  float shown = clamp(edge, 0.0, 1.0) * opacity;
  painted = vec4(tint * shown, shown);
}`;

export class GlPoints {
  /** @param {HTMLCanvasElement} canvas */
  static on(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
    const painter = gl && new GlPoints(gl);
    return painter?.works() ? painter : null;
  }

  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    const program = gl.createProgram();
    this.compile(program, gl.VERTEX_SHADER, VERTEX);
    this.compile(program, gl.FRAGMENT_SHADER, FRAGMENT);
    gl.linkProgram(program);
    this.program = program;
    if (!this.works()) return;
    gl.useProgram(program);
    this.at = Object.fromEntries(
      ["view", "size", "rank", "opacity"].map((name) => [name, gl.getUniformLocation(program, name)]),
    );
    this.placeBuffer = this.buffer(gl.getAttribLocation(program, "place"), 2, gl.FLOAT, false);
    this.colourBuffer = this.buffer(gl.getAttribLocation(program, "colour"), 4, gl.UNSIGNED_BYTE, true);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.count = 0;
  }

  /**
   * @param {WebGLProgram} program
   * @param {number} kind
   * @param {string} source
   */
  compile(program, kind, source) {
    const { gl } = this;
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }

  works() {
    return this.gl.getProgramParameter(this.program, this.gl.LINK_STATUS);
  }

  /**
   * @param {number} location
   * @param {number} size
   * @param {number} type
   * @param {boolean} normalised
   */
  buffer(location, size, type, normalised) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, type, normalised, 0, 0);
    return buffer;
  }

  /**
   * @param {WebGLBuffer} buffer
   * @param {BufferSource} values
   */
  fill(buffer, values) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.STATIC_DRAW);
  }

  /** @param {Float32Array<ArrayBuffer>} places */
  setPlaces(places) {
    this.count = places.length / 2;
    this.fill(this.placeBuffer, places);
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  setColours(bytes) {
    this.fill(this.colourBuffer, bytes);
  }

  /**
   * @param {Transform} transform
   * @param {number} size of a point, in pixels
   */
  draw({ scaleX, scaleY, offsetX, offsetY }, size) {
    const { gl, at } = this;
    gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4f(at.view, scaleX, scaleY, offsetX, offsetY);
    gl.uniform1f(at.size, size);
    for (const [rank, opacity] of RANKS) {
      gl.uniform1f(at.rank, rank / 255);
      gl.uniform1f(at.opacity, opacity);
      gl.drawArrays(gl.POINTS, 0, this.count);
    }
  }
}

export class PlainPoints {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.context = canvas.getContext("2d");
  }

  /** @param {Float32Array<ArrayBuffer>} places */
  setPlaces(places) {
    this.places = places;
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  setColours(bytes) {
    this.bytes = bytes;
  }

  /**
   * @param {Transform} transform
   * @param {number} size of a point, in pixels
   */
  draw({ scaleX, scaleY, offsetX, offsetY }, size) {
    const { context, places, bytes } = this;
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    if (!places || !bytes) return;
    for (const [rank, opacity] of RANKS) {
      context.globalAlpha = opacity;
      for (let i = 0; i < places.length / 2; i++) {
        if (bytes[4 * i + 3] !== rank) continue;
        const x = ((places[2 * i] * scaleX + offsetX + 1) / 2) * width;
        const y = ((1 - places[2 * i + 1] * scaleY - offsetY) / 2) * height;
        if (x < 0 || y < 0 || x > width || y > height) continue;
        context.fillStyle = `rgb(${bytes[4 * i]} ${bytes[4 * i + 1]} ${bytes[4 * i + 2]})`;
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
  }
}
