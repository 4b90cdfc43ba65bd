// Drawing: WebGL 2 where there is one, else a plain canvas. Both take places once and colours whenever they change.

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

class GlPoints {
  static on(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
    const painter = gl && new GlPoints(gl);
    return painter?.works() ? painter : null;
  }

  constructor(gl) {
    this.gl = gl;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
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

  works() {
    return this.gl.getProgramParameter(this.program, this.gl.LINK_STATUS);
  }

  buffer(location, size, type, normalised) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, type, normalised, 0, 0);
    return buffer;
  }

  fill(buffer, values) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.STATIC_DRAW);
  }

  setPlaces(places) {
    this.count = places.length / 2;
    this.fill(this.placeBuffer, places);
  }

  setColours(bytes) {
    this.fill(this.colourBuffer, bytes);
  }

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

class PlainPoints {
  constructor(canvas) {
    this.context = canvas.getContext("2d");
  }

  setPlaces(places) {
    this.places = places;
  }

  setColours(bytes) {
    this.bytes = bytes;
  }

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

// A camera over [-1, 1]²: centre and zoom, kept in shape whatever the canvas measures.
class Camera {
  constructor() {
    this.across = this.up = 1; // half of what the places span
    this.reset();
  }

  span(places) {
    this.across = this.up = 1e-3;
    for (let i = 0; i < places.length; i += 2) {
      this.across = Math.max(this.across, Math.abs(places[i]));
      this.up = Math.max(this.up, Math.abs(places[i + 1]));
    }
  }

  reset() {
    Object.assign(this, { x: 0, y: 0, zoom: 1 });
  }

  fit(width, height) {
    this.width = width;
    this.height = height;
  }

  // Pixels of one unit of the map.
  unit() {
    return (Math.min(this.width / this.across, this.height / this.up) / 2) * 0.94 * this.zoom;
  }

  transform() {
    const [scaleX, scaleY] = [(2 * this.unit()) / this.width, (2 * this.unit()) / this.height];
    return { scaleX, scaleY, offsetX: -this.x * scaleX, offsetY: -this.y * scaleY };
  }

  toMap(px, py) {
    return [(px - this.width / 2) / this.unit() + this.x, (this.height / 2 - py) / this.unit() + this.y];
  }

  toPixels(x, y) {
    return [(x - this.x) * this.unit() + this.width / 2, this.height / 2 - (y - this.y) * this.unit()];
  }

  pan(dx, dy) {
    this.x = clamp(this.x - dx / this.unit(), -1.2, 1.2);
    this.y = clamp(this.y + dy / this.unit(), -1.2, 1.2);
  }

  zoomAt(factor, px, py) {
    const [x, y] = this.toMap(px, py);
    this.zoom = clamp(this.zoom * factor, 0.5, 400);
    const [left, top] = this.toPixels(x, y);
    this.pan(px - left, py - top);
  }
}
