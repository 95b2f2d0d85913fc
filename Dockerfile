# Coloring without torch: python -m pix2color as the entry point.
#     docker build -t pix2color .
#     docker run --rm -v "$PWD:/work" pix2color infer photos/
#     docker run --rm -p 127.0.0.1:7860:7860 pix2color
# .ci/light runs these steps in a fresh virtual environment; the image itself is built by no check.
FROM python:3.12-slim
WORKDIR /src
COPY requirements-light.txt ./
RUN pip install --no-cache-dir -r requirements-light.txt
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY pix2color pix2color
RUN pip install --no-cache-dir --no-deps .
RUN useradd --create-home pix2color
USER pix2color
WORKDIR /work
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=5)"]
ENTRYPOINT ["python", "-m", "pix2color"]
CMD ["app", "--host", "0.0.0.0", "--port", "7860"]
